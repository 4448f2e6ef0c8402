"""The organism: a small synthetic language model whose emotions and causes are planted, so that the truth is known.

Everything it reads was composed by the grammar in this package; nothing it writes is evidence about other models.
"""
