"""Runs jobs durably and keeps the truth: observations, calls, policies, events."""
