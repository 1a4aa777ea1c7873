"""Settles which model stands in for which."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.config.problems import Findings
from burnish.config.resolved import ResolvedStage
from burnish.config.verifier import ProxyModelsConfig
from burnish.model_table import bare_model


def resolve_proxy(
    proxy: ProxyModelsConfig | None,
    stages: Sequence[ResolvedStage],
    findings: Findings,
    *,
    anchored: bool,
) -> dict[str, object] | None:
    """Returns the table with the dear model as the stages name it; None when none stands in.

    A dear model that no stage runs on is a warning, for files that were written for other systems
    may name one.

    Args:
        proxy: As the file gives it.
        stages: The program's stages.
        findings: Told when no stage runs on the dear model, or when both are the same.
        anchored: Whether trials share rows.
    """
    if proxy is None:
        return None
    settled: dict[str, object] = proxy.model_dump(mode="json")
    dear = (proxy.hi_provider.value, bare_model(proxy.hi_model))
    used = [
        stage.model.model
        for stage in stages
        if stage.model is not None
        and stage.model.model is not None
        and (stage.model.provider, bare_model(stage.model.model)) == dear
    ]
    if not used:
        findings.warn(
            "proxy_models",
            f"has no effect here: no stage runs on hi_model, `{proxy.hi_model}`; name the policy's"
            " own model there",
        )
        return None
    if (proxy.lo_provider.value, bare_model(proxy.lo_model)) == dear:
        findings.warn("proxy_models", "has no effect here: both models are the same")
        return None
    if not anchored:
        findings.warn(
            "proxy_models",
            "trials are on different rows, and models agree on rows whatever the prompt; the"
            " anchors of an adaptive_pool are rows that all trials share",
        )
    return {**settled, "hi_model": used[0]}
