"""Weights that other programs wrote: read without running anything in them, renamed once, kept in our own format.

A child process without tokens and with limits of memory and time parses the file (`inside`), by an interpreter that
builds inert records (`records`) and one adapter for each format (`adapters`); the studio's process sees safetensors only.
"""
