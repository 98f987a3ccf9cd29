"""What follows from a training job alone: its identity and its untrained model."""

from __future__ import annotations

from dataclasses import asdict

import torch

from finscale.files import hash_json
from finscale.models.patch_transformer import PatchTransformer
from finscale.seeds import derive_seed
from finscale.training.objective import first_outputs
from finscale.training.recipe import TrainingJob


def job_hash(job: TrainingJob) -> str:
    """Hash what a run's outcome depends on: equal on the CPU for equal hashes and data.

    The cut into micro-batches is left out: it follows the memory that is free. On a CPU the result
    does not depend on it; elsewhere dropout masks are drawn per micro-batch, and the results of two
    cuts agree in distribution.
    """
    content = asdict(job) | {"settings": job.settings.model_dump(mode="json")}
    del content["batching"]
    return hash_json(content)


def build_model(job: TrainingJob, device: torch.device) -> PatchTransformer:
    """Build the untrained model of a job; its weights are a pure function of the job's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(job.seed, "weights"))
        model = PatchTransformer(
            job.architecture,
            job.shape,
            dropout=job.recipe.dropout,
            head_bias=first_outputs(job.base_rate),
            activation_checkpointing=job.batching.activation_checkpointing,
        )
    return model.to(device)
