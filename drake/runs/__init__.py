"""`drake eval`: settings -> a trained and scored federation in a run folder. The command line and scripts call this.

request.py     what a user asks for -> settings
setup.py       settings -> data, backbones, clients, plan; everything is checked before anything is computed
folder.py      the run folder: who owns it, what stands where
engines.py     where the work is done, by name
reporting.py   callbacks: the file of events, TensorBoard, Weights & Biases, Trackio
evaluation.py  answers at evaluation points -> predictions -> scores
run.py         all seeds, from the first round to results.json
"""

from drake.runs.request import Settings
from drake.runs.run import evaluate
from drake.runs.setup import Setup

__all__ = ["Settings", "Setup", "evaluate"]
