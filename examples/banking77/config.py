"""Writes the walkthrough's job file."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.task_app.model import TaskInfo
from examples.harness import Plan


@dataclass(frozen=True, slots=True)
class Model:
    """A model by provider and id."""

    provider: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Model:
        """Reads `provider/model`; the model may hold slashes itself."""
        provider, _, name = text.partition("/")
        return cls(provider, name)


_TEMPLATE = """\
[prompt_learning]
algorithm = "mipro"
task_app_url = "{url}"
task_app_id = "{task}"
results_folder = "results"

[prompt_learning.policy]            # who answers the app's calls
provider = "{model.provider}"
model = "{model.name}"
temperature = 0.0
max_completion_tokens = 64

[prompt_learning.termination_config]
max_rollouts = {rollouts}                  # the closing test comes on top

[prompt_learning.mipro]
# Optimization
num_iterations = {plan.iterations}                 # most TPE rounds
num_evaluations_per_iteration = 2   # trials in each
batch_size = {plan.batch_size}                     # rows of a trial
top_k = {plan.top_k}                           # candidates compared on all validation rows

# Bootstrap
num_instructions_per_module = {plan.instructions}     # instruction variants
proposer_effort = "{plan.effort}"          # how much the proposer is shown

# Demonstrations
max_demo_set_size = {plan.demo_size}               # most examples in a prompt
max_demo_sets = {plan.demo_sets}                   # sets of examples to choose from
optimize_instructions = true
optimize_demos = true

# Rows: the first four from the training rows, the last never seen by the search
bootstrap_train_seeds = {bootstrap}
online_pool = {online}
val_seeds = {validation}
reference_pool = {reference}
test_pool = {test}

[prompt_learning.mipro.proposer]    # who writes instructions
provider = "{proposer.provider}"
model = "{proposer.name}"
"""


def config_text(url: str, info: TaskInfo, *, model: Model, rollouts: int) -> str:
    """Returns the job file for an app whose training rows are shuffled already."""
    plan = Plan()
    splits = {split.name: split for split in info.splits}
    train, test = splits["train"], splits["test"]
    ends = [train.start]
    for size in (plan.bootstrap, plan.online, plan.validation):
        ends.append(min(train.end, ends[-1] + size))
    return _TEMPLATE.format(
        url=url,
        task=info.task,
        model=model,
        rollouts=rollouts,
        plan=plan,
        proposer=Model("local", "local-proposer") if model.provider == "local" else model,
        bootstrap=_range(ends[0], ends[1]),
        online=_range(ends[1], ends[2]),
        validation=_range(ends[2], ends[3]),
        reference=_range(ends[3], train.end),
        test=_range(test.start, test.end),
    )


def _range(start: int, end: int) -> str:
    return f"{{ start = {start}, end = {end} }}"
