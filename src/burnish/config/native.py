"""Translates Burnish's own form, `[job]`, to the canonical names that everything else reads.

Here an unknown key is a problem with the nearest known name, where Synth's forms only warn.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from burnish.config.base import Raw, join
from burnish.config.enums import SearchPreset
from burnish.config.problems import Findings, nearest

Names = Mapping[str, str]


def _names(text: str) -> Names:
    """Reads `own=canonical` pairs; a bare word stands for itself."""
    pairs = (word.partition("=") for word in text.split())
    return MappingProxyType({own: canonical or own for own, _, canonical in pairs})


JOB: Final = _names(
    "algorithm task_app=task_app_url task_app_id env_name env_config seed=random_seed"
    " results_folder max_concurrent=mipro.max_concurrent mode=mipro.mode edges"
)
MODEL: Final = _names(
    "provider model base_url=upstream_base_url temperature"
    " max_output_tokens=max_completion_tokens policy_name"
)
PROPOSER: Final = _names(
    "effort=proposer_effort output_tier=proposer_output_tokens mode=proposer_mode"
    " provider=proposer.provider model=proposer.model base_url=proposer.upstream_base_url"
    " temperature=proposer.temperature max_output_tokens=proposer.max_tokens"
    " metaprompt spec_path spec_max_tokens spec_include_examples spec_priority_threshold"
    " spec_strict reference_files plugin=proposer.plugin"
    " instructions_per_batch generate_at_iterations duplicate_retry_limit"
)
POOLS: Final = _names(
    "bootstrap=bootstrap_train_seeds online=online_pool validation=val_seeds test=test_pool"
    " reference=reference_pool"
)
GEPA_POOLS: Final = _names(
    "online=evaluation.seeds validation=evaluation.validation_seeds test=evaluation.test_pool"
    " reference=evaluation.reference_pool"
)
SEARCH: Final = _names(
    "engine protocol preset=auto num_iterations num_evaluations_per_iteration batch_size"
    " full_eval_every_k top_k"
    " few_shot_score_threshold min_bootstrap_demos strict_bootstrap max_demo_set_size"
    " max_demo_sets max_instruction_sets max_instructions max_parallel_trials"
    " bootstrap_rounds=num_bootstrap_seeds optimize_instructions optimize_demos tpe demo"
    " grounding meta_update adaptive_pool objective repeats"
)
BUDGET: Final = _names(
    "max_rollouts max_cost_usd max_tokens max_seconds max_trials max_trials_without_improvement"
    " target_score max_category_costs_usd max_error_rate max_consecutive_errors"
)
STAGE: Final = _names(
    "id=stage_id module=module_id instruction=baseline_instruction messages=baseline_messages"
    " wildcards max_instruction_slots max_demo_slots optimize_instructions optimize_demos"
    " description protected"
)
VERIFIER: Final = _names(
    "reward_source graph=synth_verifier_id rubric provider=backend_provider model=backend_model"
    " concurrency timeout_seconds=timeout checks spec_path spec_max_tokens options=backend_options"
)
WEIGHTS: Final = _names("env=weight_env event=weight_event outcome=weight_outcome")
_SECTIONS: Final = {
    "mipro": "search",
    "policy": "model",
    "judge": "verifier",
    "termination_config": "budget",
}
_SHAPE: Final = frozenset({"num_iterations", "num_evaluations_per_iteration", "batch_size"})
_TABLES: Final = (
    *("model", "proposer", "pools", "search", "budget", "stages", "verifier", "gepa"),
    *("task_app_api_key_env", "proxy_models", "promotion"),
)


class _Translation:
    """One pass over a `[job]` table."""

    def __init__(self, findings: Findings) -> None:
        self.out: Raw = {}
        self.findings = findings

    def put(self, canonical: str, value: object, written: str) -> None:
        *parents, last = canonical.split(".")
        node = self.out
        for key in parents:
            node = cast(Raw, node.setdefault(key, {}))
        node[last] = value
        self.findings.names.record(canonical, written)

    def unknown(self, path: str, value: object, known: Mapping[str, str] | tuple[str, ...]) -> None:
        close = nearest(path.rpartition(".")[2], known)
        hint = f"did you mean `{close}`?" if close else f"use one of {', '.join(sorted(known))}"
        self.findings.problem(path, value, "is not a known key", hint)

    def table(self, value: object, path: str) -> Raw:
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self.findings.problem(path, value, "is not a table", f"write [job.{path}]")
        return {}

    def keys(self, source: Raw, path: str, names: Names, target: str) -> None:
        # Absent keys are recorded too: a rule may ask for one.
        for own, canonical in names.items():
            self.findings.names.record(f"{target}.{canonical}", join(path, own))
        for key, value in source.items():
            if key in names:
                self.put(f"{target}.{names[key]}", value, join(path, key))
            else:
                self.unknown(join(path, key), value, names)


def translate(root: Raw, env: Mapping[str, str], findings: Findings) -> Raw:
    """Returns the canonical section of a file in Burnish's own form."""
    job = cast(Raw, root["job"])
    for name, value in root.items():
        if name != "job":
            hint = nearest(name, _TABLES)
            fix = f"move it to [job.{hint}]" if hint else "put everything below [job]"
            findings.names.record(f"__{name}", "")
            findings.problem(f"__{name}", value, f"has `{name}` beside it", fix)
    work = _Translation(findings)
    for canonical, written in _SECTIONS.items():
        findings.names.record(canonical, written)
    algorithm = job.get("algorithm", "mipro")
    gepa = isinstance(algorithm, str) and algorithm.strip().lower() == "gepa"
    section = "gepa" if gepa else "mipro"
    work.out.update({"algorithm": algorithm, section: {}})
    if gepa:
        work.put("gepa.rollout", {}, "gepa.rollout")
    _scalars(work, job, env, gepa=gepa)
    work.keys(work.table(job.get("model"), "model"), "model", MODEL, "policy")
    proposer = work.table(job.get("proposer"), "proposer")
    known = PROPOSER if not gepa else _gepa_proposer()
    work.keys(proposer, "proposer", known, section)
    pools = work.table(job.get("pools"), "pools")
    work.keys(pools, "pools", GEPA_POOLS if gepa else POOLS, section)
    work.keys(work.table(job.get("budget"), "budget"), "budget", BUDGET, "termination_config")
    _search(work, job, gepa=gepa)
    _stages(work, job.get("stages"))
    _verifier(work, work.table(job.get("verifier"), "verifier"))
    return work.out


def _gepa_proposer() -> Names:
    left_out = {
        *("instructions_per_batch", "generate_at_iterations", "duplicate_retry_limit", "mode"),
        *("reference_files", "plugin"),
    }
    names = {own: name for own, name in PROPOSER.items() if own not in left_out}
    return MappingProxyType(names | {"mode": "proposer_type"})


def _scalars(work: _Translation, job: Raw, env: Mapping[str, str], *, gepa: bool) -> None:
    for key, value in job.items():
        if key == "max_concurrent" and gepa:
            work.put("gepa.rollout.max_concurrent", value, key)
        elif key in JOB:
            work.put(JOB[key], value, key)
        elif key in {"proxy_models", "promotion"}:
            work.put(key, value, key)
        elif key not in _TABLES:
            work.unknown(key, value, (*JOB, *_TABLES))
    name = job.get("task_app_api_key_env", "ENVIRONMENT_API_KEY")
    if not isinstance(name, str):
        work.findings.problem(
            "task_app_api_key_env", name, "is not a variable's name", "give text in quotes"
        )
    elif env.get(name):
        work.put("task_app_api_key", env[name], "task_app_api_key_env")
    elif "task_app_api_key_env" in job:
        work.findings.warn(
            "task_app_api_key_env", f"environment variable {name} is not set, so there is no key"
        )


def _search(work: _Translation, job: Raw, *, gepa: bool) -> None:
    search = work.table(job.get("search"), "search")
    if gepa:
        for key, value in search.items():
            work.findings.problem(
                join("search", key), value, "does not belong to gepa", "use [job.gepa]"
            )
        for key, value in work.table(job.get("gepa"), "gepa").items():
            if key == "rollout" and isinstance(value, dict):
                for name, item in value.items():
                    work.put(f"gepa.rollout.{name}", item, f"gepa.rollout.{name}")
            else:
                work.put(f"gepa.{key}", value, f"gepa.{key}")
        return
    if "gepa" in job:
        work.findings.problem(
            "gepa", job["gepa"], "belongs to another algorithm", 'set algorithm = "gepa"'
        )
    preset = search.get("preset")
    settings = {key: value for key, value in search.items() if key != "preset"}
    work.keys(settings, "search", SEARCH, "mipro")
    shaped = _SHAPE & search.keys()
    if preset is None or (isinstance(preset, str) and preset.strip().lower() == "none"):
        return
    if not isinstance(preset, str) or preset.strip().lower() not in set(SearchPreset):
        names = [*SearchPreset, "none"]
        work.findings.problem(
            "search.preset", preset, "is no preset", f"give one of {', '.join(names)}"
        )
        return
    work.put("mipro.auto", preset, "search.preset")
    for key in sorted(shaped):
        work.findings.problem(
            f"mipro.{key}",
            search[key],
            "is what the preset decides",
            'remove it, or set preset = "none"',
        )


def size_by_default(table: Raw, root: Raw) -> None:
    """Gives a search of MIPRO the sizes of `light` where its file gives none.

    That comes after the engine was chosen, for it is a preset that nobody asked for.

    Args:
        table: The canonical section.
        root: The file.
    """
    search = cast(Raw, root["job"]).get("search")
    given = search.keys() if isinstance(search, dict) else frozenset[str]()
    mipro = table.get("mipro")
    if (
        table["algorithm"] == "mipro"
        and isinstance(mipro, dict)
        and not given & {*_SHAPE, "preset"}
    ):
        mipro["auto"] = "light"


def _stages(work: _Translation, stages: object) -> None:
    if stages is None:
        return
    if not isinstance(stages, list):
        work.findings.problem("stages", stages, "is not an array of tables", "use [[job.stages]]")
        return
    translated = []
    for index, stage in enumerate(stages):
        path = join("stages", index)
        if not isinstance(stage, dict):
            work.findings.problem(path, stage, "is not a table", "use [[job.stages]]")
            continue
        one: Raw = {}
        for key, value in stage.items():
            if key == "model":
                one["policy"] = _model(work, work.table(value, f"{path}.model"), path)
            elif key in STAGE:
                one[STAGE[key]] = value
                work.findings.names.record(f"{path}.{STAGE[key]}", f"{path}.{key}")
            else:
                work.unknown(join(path, key), value, (*STAGE, "model"))
        translated.append(one)
    work.put("stages", translated, "stages")


def _model(work: _Translation, model: Raw, path: str) -> Raw:
    policy: Raw = {}
    for key, value in model.items():
        if key in MODEL:
            policy[MODEL[key]] = value
            work.findings.names.record(f"{path}.policy.{MODEL[key]}", f"{path}.model.{key}")
        else:
            work.unknown(f"{path}.model.{key}", value, MODEL)
    work.findings.names.record(f"{path}.policy", f"{path}.model")
    return policy


def _verifier(work: _Translation, verifier: Raw) -> None:
    if not verifier:
        return
    work.keys({k: v for k, v in verifier.items() if k != "weights"}, "verifier", VERIFIER, "judge")
    weights = work.table(verifier.get("weights"), "verifier.weights")
    work.keys(weights, "verifier.weights", WEIGHTS, "judge")
    work.put("judge.enabled", True, "verifier")
    if "reward_source" not in verifier:
        work.put("judge.reward_source", "fused", "verifier")
    scored = {"checks", "graph", "rubric"} & verifier.keys()
    if scored and not {"outcome", "event"} & weights.keys():
        work.put("judge.weight_outcome", 1.0, "verifier.weights.outcome")
        if "env" not in weights:
            work.put("judge.weight_env", 0.0, "verifier.weights.env")
