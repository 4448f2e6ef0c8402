"""Have stories written by a language model behind an OpenAI-compatible endpoint, resumable at any moment.

A cell is one story to be written: an emotion, a topic and a copy. The JSONL file is the only state: what stands in it
is finished, what does not is asked for.
"""
