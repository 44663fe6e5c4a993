"""Resolvers: who answers the questions of decisions, and how far the answers can be trusted."""
