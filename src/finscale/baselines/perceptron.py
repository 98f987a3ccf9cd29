"""A multilayer perceptron on whole windows: what a network gains that knows nothing of time.

One hidden layer on the leading directions of the windows (`finscale.baselines.directions`), which
a layer of weights can rotate back. When to stop is chosen on the last fifth of the training days;
the networks are then fitted anew on all training rows, for as many epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from finscale.baselines.contract import Fitted
from finscale.baselines.directions import leading_directions
from finscale.baselines.folds import (
    MAX_ROWS,
    FloatArray,
    Fold,
    one_thread,
    ordered_folds,
    total_nats,
)
from finscale.baselines.linear import MAX_FITTED_ROWS, drawn, window_values
from finscale.dataset.cell import CellData
from finscale.seeds import derive_seed
from finscale.splits import IntArray
from finscale.training.optim import make_optimizer
from finscale.training.recipe import Recipe

N_NETWORKS = 3
MAX_EPOCHS = 40
PATIENCE = 5

_N_HIDDEN = 32
_INPUT_DROPOUT = 0.2
# The rate stays as it is, so that a run of k epochs is the beginning of a longer one.
_RECIPE = Recipe(
    learning_rate=1e-3, weight_decay=0.1, dropout=0.5, warmup_steps=1, epochs=MAX_EPOCHS
)
_BATCH = 128
# Batches grow with the rows of a panel.
_MAX_STEPS_OF_EPOCH = 200


def fit_mlp_window(data: CellData, seed: int) -> Fitted:
    """Fit three networks to the windows of the training anchors, and average their forecasts."""
    rows = drawn(data.split.train, MAX_FITTED_ROWS)
    y_N = data.labels_T[rows]
    with one_thread(), torch.random.fork_rng(devices=[]):
        directions = leading_directions(window_values(data), drawn(rows, MAX_ROWS))
        z_NK = directions.coordinates(rows)
        scale = max(float(np.sqrt(np.mean(z_NK**2))), 1e-12)
        x_NK = torch.from_numpy((z_NK / scale).astype(np.float32))
        labels_N = torch.from_numpy(y_N)
        last = _last_fifth(ordered_folds(data.date[rows], y_N, data.cell.horizon_bars))
        epochs = 1 if last is None else _choose_epochs(x_NK, labels_N, last, seed)
        networks = [_train(x_NK, labels_N, epochs, number, seed) for number in range(N_NETWORKS)]

    def predict(rows: IntArray) -> FloatArray:
        x_NK = torch.from_numpy(directions.coordinates(rows) / scale)
        with torch.no_grad():
            logits = torch.stack([network(x_NK).squeeze(1) for network in networks])
            return np.asarray(torch.sigmoid(logits).mean(0).numpy())

    return Fitted(predict, {"epochs": epochs})


def _last_fifth(folds: tuple[Fold, ...]) -> Fold | None:
    """Join the last two of the five blocks, each a tenth of the days, after what lies before."""
    if len(folds) < 2:
        return None
    blocks = [fold.validation for fold in folds[-2:]]
    return Fold(folds[-2].train, np.concatenate(blocks))


def _choose_epochs(x_NK: Tensor, y_N: Tensor, fold: Fold, seed: int) -> int:
    """Return the number of epochs after which the networks' average has the lowest log-loss."""
    train, validation = torch.from_numpy(fold.train), torch.from_numpy(fold.validation)
    y_validation = y_N[validation].numpy()
    runs = [_epochs(x_NK[train], y_N[train], number, seed) for number in range(N_NETWORKS)]
    best, least, waited = 1, math.inf, 0
    for epoch in range(1, MAX_EPOCHS + 1):
        p_N = np.mean([_probabilities(next(run), x_NK[validation]) for run in runs], axis=0)
        loss = total_nats(p_N, y_validation)
        if loss < least:
            best, least, waited = epoch, loss, 0
        else:
            waited += 1
        if waited == PATIENCE:
            break
    return best


def _train(x_NK: Tensor, y_N: Tensor, epochs: int, number: int, seed: int) -> nn.Module:
    run = _epochs(x_NK, y_N, number, seed)
    network = next(run)
    for _ in range(epochs - 1):
        network = next(run)
    return network.double()


def _epochs(x_NK: Tensor, y_N: Tensor, number: int, seed: int) -> Iterator[nn.Module]:
    """Train a network, and give it back, without dropout, after every epoch.

    Every epoch has a seed of its own: what other networks draw in between changes nothing.
    """
    torch.manual_seed(derive_seed(seed, "network", number))
    network = _network(x_NK.shape[1], float(y_N.double().mean()))
    optimizer = make_optimizer(network, _RECIPE)
    batch = max(_BATCH, len(y_N) // _MAX_STEPS_OF_EPOCH)
    for epoch in range(MAX_EPOCHS):
        torch.manual_seed(derive_seed(seed, "network", number, "epoch", epoch))
        network.train()
        for rows in torch.randperm(len(y_N)).split(batch):
            optimizer.zero_grad()
            logits = network(x_NK[rows]).squeeze(1)
            binary_cross_entropy_with_logits(logits, y_N[rows]).backward()
            optimizer.step()
        yield network.eval()


def _network(n_inputs: int, rate: float) -> nn.Sequential:
    """Return a network that starts out with the base rate for every window."""
    head = nn.Linear(_N_HIDDEN, 1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, math.log(rate / (1 - rate)))
    return nn.Sequential(
        nn.Dropout(_INPUT_DROPOUT),
        nn.Linear(n_inputs, _N_HIDDEN),
        nn.GELU(),
        nn.Dropout(_RECIPE.dropout),
        head,
    )


def _probabilities(network: nn.Module, x_NK: Tensor) -> FloatArray:
    with torch.no_grad():
        return np.asarray(torch.sigmoid(network(x_NK).squeeze(1)).double().numpy())
