"""What tests need: contract suites that plug-ins inherit from, fake providers, fake jobs."""
