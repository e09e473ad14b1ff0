"""Forecasts from tables of losses: will more pre-training hurt, and from when on."""
