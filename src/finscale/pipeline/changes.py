"""What has changed between two identities, in the words of the study.

Pure functions of what the parts of an identity stand for; :mod:`finscale.pipeline.basis` keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# As many as fit into a line; the rest is counted.
_N_NAMED = 6

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A part of an identity that is another now.

    Attributes
    ----------
    part
        ``settings``, ``data``, ``grid`` or ``code``.
    details
        What of it, such as ``training.patience 4 → 8``; empty if nobody wrote down what it was.
    """

    part: str
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """``settings (training.patience 4 → 8)``, or the part's name alone."""
        return f"{self.part} ({named(self.details, separator='; ')})" if self.details else self.part

    def as_dict(self) -> dict[str, Any]:
        """Return the change, JSON-ready."""
        return asdict(self)


def describe_change(part: str, old: Content | None, new: Content | None) -> Change:
    """Say what of a part has changed; None stands for what nobody wrote down."""
    if old is None or new is None:
        return Change(part)
    return Change(part, tuple(_DESCRIBE[part](old, new)))


def settings_changes(old: Content, new: Content) -> list[str]:
    """Name the settings that differ: ``training.patience 4 → 8``."""
    before, after = _flat(old), _flat(new)
    return [
        f"{name} {_value(before, name)} → {_value(after, name)}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name, _NOT_SET) != after.get(name, _NOT_SET)
    ]


def data_changes(old: Content, new: Content) -> list[str]:
    """Name source, symbols, versions, features, labels and parts of the split that differ.

    Features, labels and parts are made from the bars: where those differ, they go without saying.
    """
    found = [
        f"{name.replace('_', ' ')} {old[name]} → {new[name]}"
        for name in ("source", "time_scale")
        if old[name] != new[name]
    ]
    found += _bars_changes("", old["symbols"], new["symbols"])
    found += _bars_changes("context ", old["context"], new["context"])
    same_bars = not found
    before, after = old["features"], new["features"]
    found += _gone_and_new("feature", before, after)
    if same_bars:
        other = [name for name in after if name in before and before[name] != after[name]]
        if other:
            found.append(f"other values of {_plural('feature', other)} {named(other)}")
        if not found and list(before) != list(after):
            found.append("other order of features")
        if old["labels_hash"] != new["labels_hash"]:
            found.append("other labels")
        found += [
            f"{part} {_rows(old['parts'].get(part))} → {_rows(new['parts'].get(part))}"
            for part in dict.fromkeys([*old["parts"], *new["parts"]])
            if old["parts"].get(part) != new["parts"].get(part)
        ]
    return found


def grid_changes(old: Content, new: Content) -> list[str]:
    """Name the values of each dimension, and the numbers of the input shape, that differ."""
    found = settings_changes(old["shape"], new["shape"])
    before, after = set(old["architectures"]), set(new["architectures"])
    for index, name in enumerate(("d_model", "n_layers", "n_heads", "d_ff")):
        had, has = ({int(one.split("x")[index]) for one in ones} for ones in (before, after))
        # A width that came or went says it of its feed-forward layers, too.
        if name != "d_ff" or not found:
            for verb, values in (("without", had - has), ("with", has - had)):
                if values:
                    found.append(f"{name} {verb} {named(map(str, sorted(values)))}")
    counts = [(len(after - before), "more"), (len(before - after), "fewer")]
    found += [f"{n} architecture{'s' * (n > 1)} {word}" for n, word in counts if n]
    return found


def code_changes(old: Content, new: Content) -> list[str]:
    """Name the source files that were changed, added or removed."""
    changed = [name for name in new if name in old and old[name] != new[name]]
    return [
        *changed,
        *(f"{name} added" for name in new if name not in old),
        *(f"{name} removed" for name in old if name not in new),
    ]


_DESCRIBE: dict[str, Callable[[Content, Content], list[str]]] = {
    "settings": settings_changes,
    "data": data_changes,
    "grid": grid_changes,
    "code": code_changes,
}
_NOT_SET = object()


def named(names: Iterable[str], *, separator: str = ", ") -> str:
    """Return a list in a line, the end of a long one as a number."""
    every = list(names)
    more = f"{separator}and {len(every) - _N_NAMED} more" if len(every) > _N_NAMED else ""
    return separator.join(every[:_N_NAMED]) + more


def describe_stale(stale: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for all that is stale for the same reasons.

    Parameters
    ----------
    stale
        Experiment or cell to what has changed since its records, in words.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, changes in stale.items():
        alike.setdefault(tuple(changes), []).append(name)
    return [
        f"{named(names)}: made with other {', '.join(changes)}" for changes, names in alike.items()
    ]


def _flat(settings: Content, place: str = "") -> dict[str, Any]:
    """Return the leaves of nested settings by their dotted path."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{place}{name}.")
        else:
            flat[f"{place}{name}"] = value
    return flat


def _value(settings: Mapping[str, Any], name: str) -> str:
    if name not in settings:
        return "(not set)"
    value = settings[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bars_changes(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = _gone_and_new(f"{kind}symbol" if not kind else kind.strip(), old, new)
    for name in new:
        if name in old and old[name] != new[name]:
            before, after = old[name], new[name]
            if before["version"] != after["version"]:
                found.append(f"{kind}{name} version {before['version']} → {after['version']}")
            elif before["bars_hash"] != after["bars_hash"]:
                found.append(f"{kind}{name} bars changed ({_bars(before)} → {_bars(after)})")
            else:
                found.append(f"{kind}{name} {named(settings_changes(before, after))}")
    return found


def _gone_and_new(noun: str, old: Iterable[str], new: Iterable[str]) -> list[str]:
    before, after = list(old), list(new)
    gone = [name for name in before if name not in set(after)]
    added = [name for name in after if name not in set(before)]
    return [
        f"{_plural(noun, names)} {named(names)} {verb}"
        for names, verb in ((gone, "removed"), (added, "added"))
        if names
    ]


def _plural(noun: str, names: Sequence[str]) -> str:
    return noun if len(names) == 1 or noun == "context" else f"{noun}s"


def _bars(one: Mapping[str, Any]) -> str:
    return f"{one['n_bars']:,} to {one['last_date']}"


def _rows(part: Mapping[str, Any] | None) -> str:
    return (
        f"{part['n']:,} rows from {part['first_date']} to {part['last_date']}" if part else "none"
    )
