"""Contract suites that plug-ins inherit their tests from."""
