"""The library behind the notebooks. In reading order, each module importing only from those before it:

environment  what must be installed, read from environment.yml
commands     how every command ends
standin      images drawn where there are no real ones
data         MNIST and CIFAR-10; splits, subsets, augmentation
machine      what this machine can compute in, and what a record says of it
backend      what one backend of Keras does differently, beside its portable twin
layers       the building blocks; `Stage` is the loop whose steps are tied (RecNet) or not (ResNet)
models       every network, by name
probes       measuring a net: errors, gradients, read-outs
records      a run on disk: whole or not at all, sealed, locked
train        one training run: Recipe, Experiment, Run, train()
checks       what is measured without training
runs         the store of records, as tables
design       the arms that each claim compares, by profile
experiments  which runs they are, and their records
prose        numbers in sentences
stats        intervals and tests
findings     what rules are made of: comparisons between arms, and what comes of them
rules        the claims of the paper, and the rule that judges each
beyond       the same of what is asked beyond it
claims       the verdicts that follow from the runs at hand
pictures     what a figure is, and photographs
labels       direct labels on a plot, and logarithmic axes
plots        the figures of runs
diagrams     networks drawn from their own structure
forecast     how long training will take
live         what is seen of training in a notebook that is open
grid         getting many runs done
cluster      the same on Dask workers
recorder     the command that runs what results/ lacks
explore      what 10_explore plays with
evaluate     the kept nets' test errors, computed again
site         executed notebooks rendered to HTML
kernels      what notebooks are executed in
report       notebooks executed and rendered
readme       the README's picture and table
"""

import os

# TensorFlow leaves the kernels of oneDNN off on x86 processors without instructions made for networks (AVX-512 VNNI,
# AVX-VNNI, AMX: DefaultOneDnnPolicy in tensorflow/core/util/port.cc). With AVX2 alone they halve the time of training
# (08_cost). TensorFlow reads this once, when it is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Silences the log of TensorFlow's C++ code, which calls it an error where a processor lacks instructions; what does end
# a run still comes as a Python exception.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
