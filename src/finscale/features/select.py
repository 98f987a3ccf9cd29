"""Which features a study's models see: the tier's, those of its context series, and its own."""

from __future__ import annotations

from finscale.errors import FeatureError
from finscale.features.context import context_features
from finscale.features.modules import features_of_modules, load_feature_modules
from finscale.features.registry import REGISTRY, Feature
from finscale.features.tiers import tier_features
from finscale.study import Study


def own_features(study: Study) -> tuple[Feature, ...]:
    """Return the features that the study's own modules register and its models see.

    Raises
    ------
    FeatureError
        If a module cannot be loaded.
    """
    registered = load_feature_modules(study.features.modules)
    names = {name for added in registered.values() for name in added}
    return tuple(REGISTRY[name] for name in study.features.extra if name in names)


def study_features(study: Study) -> tuple[Feature, ...]:
    """Return the features of a study in the order of its matrix; needs no data.

    Raises
    ------
    FeatureError
        If the tier or an extra feature is unknown, a feature is named twice, or a module of the
        study cannot be loaded.
    """
    own = {one.name for one in own_features(study)}
    # What another study of this process registered was not proved for this one, and is not there
    # when this one runs alone.
    others = features_of_modules() - own
    chosen = list(tier_features(study.features.tier))
    for series in study.data.context:
        chosen += context_features(series.name, series.kind)
    for name in study.features.extra:
        if name not in REGISTRY or name in others:
            raise FeatureError(
                f"features.extra: no feature {name!r}; name one of another tier, or one that a "
                "file in features.modules registers"
            )
        chosen.append(REGISTRY[name])
    names = [one.name for one in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(f"features: {', '.join(twice)} would stand twice; remove one")
    return tuple(chosen)
