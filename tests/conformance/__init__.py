"""Conformance: the published SaaS Shield clients, unmodified, against our proxy.

Node, Java and Python Alloy are test dependencies only; every program that drives them is written here.
"""
