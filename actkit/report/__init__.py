"""Figures and token views of finished runs."""
