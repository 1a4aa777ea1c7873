"""Google's own API, spoken for apps that speak chat completions."""
