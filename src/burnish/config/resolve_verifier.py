"""Settles how rewards are made: graph, rubric, judge and weights, and the files they are in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from burnish.config.enums import RewardSource
from burnish.config.problems import ConfigError, Findings
from burnish.config.prompt_learning import PromptLearningConfig
from burnish.config.resolved import ResolvedCheck, ResolvedModel, ResolvedVerifier
from burnish.config.rules import judges
from burnish.config.spec import SpecView, load_spec, render_spec
from burnish.config.verifier import PromptLearningJudgeConfig
from burnish.errors import BurnishError

DEFAULT_GRAPH = "zero_shot_verifier"


def resolve_verifier(config: PromptLearningConfig, findings: Findings) -> ResolvedVerifier:
    """Returns how rewards are made; what is wrong with its files is told."""
    path, judge = next(judges(config), ("judge", None))
    if judge is None or not judge.enabled:
        return ResolvedVerifier()
    env, event, outcome = _weights(judge)
    model = None
    if judge.backend_provider and judge.backend_model:
        model = ResolvedModel(
            provider=judge.backend_provider.strip().lower(), model=judge.backend_model
        )
    spec_text = resolve_spec(
        judge.spec_path, SpecView(max_tokens=judge.spec_max_tokens), config.base_dir, findings
    )
    texts = [text for text in (judge.spec_context, spec_text) if text]
    files = _Files(config.base_dir, path, findings)
    graph_id, graph = files.graph(judge.synth_verifier_id)
    rubric = files.rubric(judge.rubric)
    if not graph_id and graph is None and not judge.checks and (event or outcome):
        graph_id = DEFAULT_GRAPH
    return ResolvedVerifier(
        reward_source=judge.reward_source.value,
        weight_env=env,
        weight_event=event,
        weight_outcome=outcome,
        graph_id=graph_id or None,
        graph=graph,
        rubric=rubric,
        model=model,
        checks=tuple(
            ResolvedCheck(
                check=check.check.value,
                weight=check.weight,
                settings=dict(check.model_extra or {}),
            )
            for check in judge.checks
        ),
        concurrency=judge.concurrency,
        timeout_seconds=judge.timeout,
        spec_text="\n\n".join(texts) or None,
    )


def _weights(judge: PromptLearningJudgeConfig) -> tuple[float, float, float]:
    event = judge.weight_event if judge.backend_event_enabled else 0.0
    outcome = judge.weight_outcome if judge.backend_outcome_enabled else 0.0
    if judge.reward_source is RewardSource.TASK_APP:
        return 1.0, 0.0, 0.0
    if judge.reward_source is RewardSource.FUSED:
        return judge.weight_env, event, outcome
    return (0.0, event, outcome) if event or outcome else (0.0, 0.0, 1.0)


class _Files:
    """Reads what a verifier table keeps in files of its own."""

    def __init__(self, base_dir: Path | None, path: str, findings: Findings) -> None:
        self._base_dir = base_dir
        self._path = path
        self._findings = findings

    def graph(self, named: str) -> tuple[str, dict[str, object] | None]:
        """Returns the id of a registered graph, or the graph that a file holds."""
        from burnish.graph_files import graph_value, is_file, load_graph

        if not is_file(named):
            return named, None
        file = self._file("synth_verifier_id", named)
        if file is None:
            return "", None
        try:
            return "", graph_value(load_graph(file))
        except BurnishError as error:
            self._refuse("synth_verifier_id", named, error.message)
            return "", None

    def rubric(self, given: str | dict[str, object] | None) -> dict[str, object] | None:
        """Returns a rubric that was given as a table or as a file."""
        from burnish.rubric_files import load_value
        from burnish.rubric_forms import read_rubric, unknown_keys

        if not given:
            return None
        value: object = given
        try:
            if isinstance(given, str):
                file = self._file("rubric", given)
                if file is None:
                    return None
                value = load_value(file)
            read_rubric(value)
        except BurnishError as error:
            self._refuse("rubric", given, error.message)
            return None
        if not isinstance(value, Mapping):
            return None
        for line in unknown_keys(value):
            self._findings.warn(f"{self._path}.rubric", line)
        return dict(value)

    def _file(self, key: str, named: str) -> Path | None:
        if self._base_dir is not None:
            return self._base_dir / named
        self._findings.problem(
            f"{self._path}.{key}",
            named,
            "is a file, and there is no folder to find it in",
            "give base_dir",
        )
        return None

    def _refuse(self, key: str, value: object, message: str) -> None:
        self._findings.problem(f"{self._path}.{key}", value, message, "correct it")


def resolve_spec(
    path: str | None,
    view: SpecView,
    base_dir: Path | None,
    findings: Findings,
    *,
    strict: bool = False,
) -> str | None:
    """Returns a system spec as it is shown; None, with the problems told, when there is none."""
    if path is None:
        return None
    if base_dir is None:
        findings.problem(
            "spec_path", path, "is a file, and there is no folder to find it in", "give base_dir"
        )
        return None
    try:
        spec, warnings = load_spec(base_dir / path, strict=strict)
    except ConfigError as error:
        findings.problems.extend(error.problems)
        return None
    findings.warnings.extend(warnings)
    return render_spec(spec, view)
