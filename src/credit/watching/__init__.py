"""What looks on while a job trains, and says so to whoever asks: it takes from a training and gives it nothing.

Its modules count in no code digest (`credit.provenance.sources`), import no other part of the package, and are handed
nothing that they could change: the same job without them writes the same bytes.
"""
