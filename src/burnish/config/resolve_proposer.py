"""Settles who writes instructions, and what they are given to read."""

from __future__ import annotations

from pathlib import Path

from burnish.config.gepa import GEPAConfig
from burnish.config.mipro import MIPROConfig
from burnish.config.problems import Findings
from burnish.config.references import read_references
from burnish.config.resolve_verifier import resolve_spec
from burnish.config.resolved import ResolvedModel, ResolvedProposer
from burnish.config.spec import SpecView


def resolve_proposer(
    section: MIPROConfig | GEPAConfig, base_dir: Path | None, findings: Findings
) -> ResolvedProposer:
    """Returns the proposer of a search.

    Args:
        section: The algorithm's table.
        base_dir: Where the configuration is; None when it came from no file.
        findings: Told of everything.
    """
    own = section.proposer
    model = None
    if own is not None and own.model is not None and own.provider is not None:
        model = ResolvedModel(
            provider=own.provider.value,
            model=own.model,
            temperature=own.temperature,
            max_output_tokens=own.max_tokens,
            base_url=own.upstream_base_url,
        )
    view = SpecView(
        max_tokens=section.spec_max_tokens,
        include_examples=section.spec_include_examples,
        priority_threshold=section.spec_priority_threshold,
    )
    temperature = own.temperature if own is not None else None
    mipro = section if isinstance(section, MIPROConfig) else None
    if temperature is None and mipro is not None:
        temperature = mipro.grounding.temperature
    kind = section.proposer_type if isinstance(section, GEPAConfig) else section.proposer_mode
    return ResolvedProposer(
        effort=section.proposer_effort.value,
        output_tier=section.proposer_output_tokens.value,
        mode=kind.value,
        model=model,
        metaprompt=section.metaprompt,
        spec_text=resolve_spec(
            section.spec_path, view, base_dir, findings, strict=section.spec_strict
        ),
        reference_texts=(
            read_references(mipro.reference_files, base_dir, findings) if mipro is not None else ()
        ),
        plugin=own.plugin if own is not None else None,
        temperature=temperature,
        max_instruction_tokens=mipro.grounding.max_tokens if mipro is not None else None,
    )
