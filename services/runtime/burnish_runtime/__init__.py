"""One way to start a service: server kit, client channels, settings, telemetry, LLM providers."""
