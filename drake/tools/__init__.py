"""Looking at runs: where two differ (difference.py), pictures for a paper (pictures.py), worst tasks and wrong answers
with what was seen (page.py). The commands are in commands.py. Reads run folders, needs no model, changes nothing.
"""
