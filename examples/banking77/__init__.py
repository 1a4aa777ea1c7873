"""Banking77: the intents app on real customer messages, a walkthrough and acceptance runs."""
