"""The whole suite on one machine: one supervised process per service, one command to start it."""

from burnish.suite.state import RunningSuite, SuiteLocked, running_suite
from burnish.suite.supervisor import ServiceKeepsDying, Suite, SuiteOptions, SuiteStartTimeout

__all__ = [
    "RunningSuite",
    "ServiceKeepsDying",
    "Suite",
    "SuiteLocked",
    "SuiteOptions",
    "SuiteStartTimeout",
    "running_suite",
]
