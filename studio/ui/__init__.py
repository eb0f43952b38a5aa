"""Roof: the page. Gradio is imported here and nowhere else."""
