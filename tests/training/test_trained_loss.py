"""The one loss, of one logit and of one per class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finscale.evaluation.outcomes import row_loss, to_probabilities
from finscale.models.architecture import Architecture, InputShape
from finscale.training.jobs import build_model
from finscale.training.objective import first_outputs, mean_loss, summed_loss
from finscale.training.recipe import TrainingJob
from training.planted import SHAPE  # noqa: F401
