"""Reconstruction of DRAKE's tasks from the published files of their sources: `drake build --source raw:FOLDER`.

One module per source data set reads its format; `dataset` has what they share, `splitting` divides and samples,
`source` is the `drake.Source`. docs/reconstruction.md says where to get the files and what was chosen here. A
reconstruction is no copy of the official release and is a track of its own.
"""
