"""The leaderboard as a static site: `write_site` makes the folder that `drake leaderboard --site` names.

`build` decides which files there are; `tracks` prepares the tables and charts of the first page, `entry` the page of a
submission, `samples` its answers and pictures; `charts` draws. Templates, style and script are in this folder.
"""

from .build import write_site as write_site
