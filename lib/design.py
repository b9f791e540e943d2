"""The experimental design, as data: the arms that each claim compares, at each size.

`Design(profile)` has a method a claim. Profiles differ in size alone, so that a claim has the same arms in each as far
as its size allows.
"""

from dataclasses import dataclass, replace

from lib.train import MODERN, PAPER, Experiment, Recipe


@dataclass(frozen=True)
class Size:
    """How large a profile makes its runs."""

    n_train: int | None  # CIFAR-10 training images; None: all
    n_eval: int | None  # images of each set that are evaluated
    depths: tuple[int, ...]  # n of plain nets, ResNets and RecNets; the last is the one the main claims are judged at
    variants: int  # n of the block variants
    main: int  # epochs of the main comparison, C11
    long: int  # epochs of the paper's own nets and what is compared with them
    short: int  # epochs of the others
    mnist: int  # epochs on MNIST, 10,000 images
    width: int = 16
    batch: int = 128
    draws: int = 1  # subsets of MNIST
    readings: tuple[str, ...] = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8")
    unrolls: tuple[int, ...] = (1, 2, 4)  # steps of the paper's RNN beside its seven
    norms: int = 5  # how many of NORMS


SIZES = {
    "smoke": Size(128, 100, (1, 2), 1, 1, 1, 1, 1, width=4, batch=64, readings=("P1",), unrolls=(1,), norms=3),
    "quick": Size(10_000, 2_000, (1, 3), 1, 3, 3, 3, 2, readings=("P1", "P2", "P4"), unrolls=(1,), norms=3),
    "paper": Size(None, None, (1, 3, 7), 7, 100, 30, 10, 10, draws=5),
}

# The closed list of readings of the paper's two nets: what differs from P1 in the net, and in the recipe.
ADAM = {"optimizer": "adam", "learning_rate": 1e-3}
READINGS = {
    "P1": ({}, {}),
    "P2": ({}, ADAM),
    "P3": ({"dropout": 0.0}, {}),
    "P4": ({"dropout": 0.0}, ADAM),
    "P5": ({"activation": "relu"}, {}),
    "P6": ({"wiring": "stack"}, {}),
    "P7": ({"wiring": "rows", "padding": "valid"}, {}),
    "P8": ({"wiring": "state"}, {}),
}

NEAREST = "P7"  # its RecNet came nearest to 45 % on validation at full scale

# Block variants of C5, by their names in the field (the paper's refs. 1 and 7).
VARIANTS = {
    "norm before, ReLU after": {},
    "norm before, no ReLU": {"activate": False},
    "norm after, ReLU after": {"norm_place": "after"},
    "norm after, no ReLU": {"norm_place": "after", "activate": False},
    "pre-activation": {"norm_place": "pre"},
}

# Norms of B1, and the start value of gamma.
NORMS = {
    "own norm": {},
    "shared norm": {"norm": "shared"},
    "group norm": {"norm": "group"},
    "own statistics": {"norm": "per_step_stats"},
    "own norm, gamma 0.1": {"gamma": 0.1},
}

# Untied nets of about the parameters of the tied one at n = 7 (173k), candidates for E of C11.
EQUAL_PARAMETERS = {"n = 2": {"n": 2}, "n = 7, width 8": {"n": 7, "width": 8}, "n = 3, width 13": {"n": 3, "width": 13}}

# The modern recipe up to 2026-11-25, with a tenth of the decay, and what was chosen with it on validation: E.
FIRST = replace(MODERN, learning_rate=0.1, weight_decay=5e-4)
FIRST_RATES = (0.05, 0.1, 0.2)
EQUAL = "n = 2"

# The peak rate of each arm at full scale, which the runs of `rates` and `shallow` chose on validation out of RATES.
RATES = (0.1, 0.2, 0.4)
CHOSEN = {"tied": 0.4, "untied": 0.4, "equal parameters": 0.2, "depth-1": 0.1}

# The nets of B3: tied ones below a size, and what they are to stand up to. The small one is B4's of three states, with
# its rate, the only one it was tried with.
AIM = {
    "tied, below 0.15M": ("states", {"states": 3, "steps": 9}),
    "untied, ResNet-44": ("untied", {"n": 7}),
    "untied, ResNet-20": ("untied", {"n": 3}),
    "untied, below 0.15M, n = 2": ("untied", {"n": 2, "width": 14}),
    "untied, below 0.15M, n = 3": ("untied", {"n": 3, "width": 11}),
    "untied, below 0.15M, n = 7": ("untied", {"n": 7, "width": 7}),
    "tied, below 1M": ("tied", {"n": 3, "width": 38}),
}

# The nets of the race, with their epochs, and the goal of each, set beforehand: an error in % and the minutes of one
# core to reach it in.
RACERS = {
    "tied, 32 channels": ("recnet", 10, {"width": 32}),
    "untied, 48 channels": ("resnet", 20, {"width": 48}),
    "tied, 64 channels, halved maps": ("recnet", 30, {"width": 64, "stem": "pooled"}),
    "tied, 48 channels": ("recnet", 30, {"width": 48}),
}
GOALS = dict(zip(RACERS, [(10, 24), (6.5, 90), (7, 150), (7, 150)], strict=True))

# What a run measures of its net beside its errors: one rule by architecture, so that claims can share runs. The
# families as such are measured in full; a variant (another norm, another block) in what its claim needs.
FAMILY_PROBES = {
    "plain": ("gradients",),
    "resnet": ("gradients", "readouts", "updates", "drops"),
    "recnet": ("activations", "statistics", "readouts", "updates", "drops", "mistakes"),
    "feedback": ("readouts",),
}
VARIANT_PROBES = {"plain": ("gradients",), "recnet": ("activations", "statistics"), "feedback": ("readouts",)}
MNIST_PROBES = {"mnist_cnn": ("shifts",), "softmax": ("shifts",), "mlp": ("shifts",)}


def layers(n):
    """Weight layers of a net of He et al. with n blocks in each of three stages, or with a number for each: [1, 3, 3].

    Theirs (2015, section 4.2): 6n + 2.
    """
    return 2 * (3 * n if isinstance(n, int) else sum(n)) + 2


class Design:
    """The arms of every claim at one profile: a method a claim, each returning {label: Experiment}."""

    def __init__(self, profile):
        if profile not in SIZES:
            raise ValueError(f"unknown profile {profile!r}; choose one of {', '.join(SIZES)}")
        self.size = SIZES[profile]
        self.full = profile == "paper"
        self.deep = self.size.depths[-1]
        self.middle = self.size.depths[1]  # where variants are compared, several for the price of a deep one
        # the modern recipe of an arm, at the rate chosen for it where it was chosen: at full scale
        chosen = CHOSEN if self.full else {}
        self.tuned = {
            arm: replace(MODERN, learning_rate=chosen.get(arm, MODERN.learning_rate)) for arm in ("states", *CHOSEN)
        }

    # -- one experiment of each kind --------------------------------------------------------------------------------

    def cifar(self, architecture, recipe=MODERN, epochs=None, final=True, **options):
        """A CIFAR-10 experiment. At full scale it is either final (all 50,000 images, test read once) or exploratory
        (45,000, validation only); the smaller profiles train on a subset and can afford to show both."""
        size = self.size
        if architecture in ("plain", "resnet", "recnet") and size.width != 16:
            options.setdefault("width", size.width)
        recipe = replace(recipe, epochs=epochs or size.short, batch=size.batch)
        return Experiment(
            architecture,
            recipe,
            options,
            n_train=size.n_train,
            n_eval=size.n_eval,
            held_out=not (self.full and final),
            test=final or not self.full,
            probes=(VARIANT_PROBES if options.keys() - {"n", "width"} else FAMILY_PROBES).get(architecture, ()),
        )

    def mnist(self, architecture, draw=0, **options):
        """An MNIST experiment on 10,000 images, as many as the paper took; so the validation images cost it nothing."""
        size = self.size
        recipe = Recipe(epochs=size.mnist, batch=size.batch, **ADAM)
        if architecture in ("resnet", "recnet") and size.width != 16:
            options["width"] = size.width
        return Experiment(
            architecture,
            recipe,
            options,
            dataset="mnist",
            n_train=min(size.n_train or 10_000, 10_000),
            draw=draw,
            n_eval=size.n_eval,
            test=True,
            probes=MNIST_PROBES.get(architecture, ()),
        )

    def reading(self, name, recurrent, final=False, **changes):
        """One of the paper's two nets in one reading: the RecNet, or its depth-1 twin, which has no RNN."""
        options, recipe = READINGS[name]
        options = options | changes
        if not recurrent:
            options = {k: v for k, v in options.items() if k in ("dropout", "padding")}
        architecture = "paper_recnet" if recurrent else "paper_resnet"
        return self.cifar(architecture, replace(PAPER, **recipe), self.size.long, final=final, **options)

    def by_depth(self, word, net):
        """A family of nets at the depths of the profile."""
        return {f"{word} n = {n}": self.cifar(net, n=n, final=False) for n in self.size.depths}

    # -- the paper's claims -----------------------------------------------------------------------------------------

    def C1(self):
        arms = {f"conv stride, ReLU once, draw {d}": self.mnist("mnist_cnn", d) for d in range(self.size.draws)}
        if self.full:
            arms["pool stride, ReLU once"] = self.mnist("mnist_cnn", stride="pool")
            arms["conv stride, ReLU each"] = self.mnist("mnist_cnn", relu="each")
            arms["pool stride, ReLU each"] = self.mnist("mnist_cnn", stride="pool", relu="each")
        return arms

    def C2(self):
        return {"ReLU": self.mnist("mnist_cnn"), "softplus": self.mnist("mnist_cnn", activation="softplus")}

    def C3(self):
        arms = self.by_depth("plain", "plain")
        # without norm the rate must be found anew for each depth, on validation
        rates = (0.01, 0.03, 0.1) if self.full else (0.03,)
        for n in self.size.depths[: 2 if self.full else 1]:
            for rate in rates:
                arms[f"plain n = {n}, no norm, rate {rate}"] = self.cifar(
                    "plain", replace(MODERN, learning_rate=rate), n=n, norm=None, final=False
                )
        return arms

    def C4(self):
        return self.by_depth("plain", "plain") | self.by_depth("residual", "resnet")

    def C5(self):
        depths = (3, self.size.variants) if self.full else (self.size.variants,)
        return {
            f"{name}, n = {n}": self.cifar("resnet", n=n, **variant)
            for n in depths
            for name, variant in VARIANTS.items()
        }

    def C6(self):
        plain_data = replace(MODERN, augment=False)
        nets = {"ResNet-18": ("resnet18", {}), "ResNet-20": ("resnet", {"n": 3})}
        return {
            f"{name}, {text}": self.cifar(net, recipe, **options)
            for name, (net, options) in nets.items()
            for text, recipe in (("augmented", MODERN), ("not augmented", plain_data))
        }

    def C7(self):
        arms = {f"{name} depth-1": self.reading(name, recurrent=False) for name in self.size.readings}
        return arms | {"P1 depth-1, final": self.reading("P1", recurrent=False, final=True)}

    def C8(self):
        arms = {f"{name} RecNet": self.reading(name, recurrent=True) for name in self.size.readings}
        arms["P1 RecNet, final"] = self.reading("P1", recurrent=True, final=True)
        for label, net in (("softmax regression", "softmax"), ("MLP", "mlp"), ("plain CNN", "mnist_cnn")):
            if self.full or net == "mnist_cnn":
                arms[label] = self.cifar(net, PAPER, self.size.long, final=False)
        return arms

    def C12(self):
        """Each net at its own rate by the modern recipe, and both at Keras' by the paper's."""
        nets = {"depth-1": ("paper_resnet", "depth-1", {}), f"n = {self.deep}": ("resnet", "untied", {"n": self.deep})}
        return {
            f"{name}, {text}": self.cifar(net, recipe, self.size.long, **options)
            for name, (net, arm, options) in nets.items()
            for text, recipe in (("paper", PAPER), ("modern", self.tuned[arm]))
        }

    def shallow(self):
        """The rate of C12's depth-1 net by the modern recipe, chosen as those of C11's arms are."""
        return {
            f"depth-1, rate {rate}": self.cifar("paper_resnet", replace(MODERN, learning_rate=rate), final=False)
            for rate in RATES
        }

    def C11(self):
        shallow = max(1, self.deep - 1)
        label, equal = (EQUAL, EQUAL_PARAMETERS[EQUAL]) if self.full else (f"n = {shallow}", {"n": shallow})
        return {
            f"tied n = {self.deep}": self.tuned_net("tied", self.size.main, n=self.deep),
            f"untied n = {self.deep}": self.tuned_net("untied", self.size.main, n=self.deep),
            f"equal parameters, {label}": self.tuned_net("equal parameters", self.size.main, **equal),
        }

    def early(self):
        """C11's nets by one recipe after a third of its epochs, on validation, with smaller untied ones and a net of
        several states beside them: what can be shown of C11 while its own runs are not all there."""
        arms = {f"{arm} n = {self.deep}": run for arm, run in self.B2().items()}
        arms["tied n = 3"] = self.cifar("recnet", n=3, final=False)
        arms |= {f"untied n = {n}": self.cifar("resnet", n=n, final=False) for n in (1, 2, 3)}
        return arms | {"tied, 3 states": self.B4()["3 states, with feed-back"]}

    def budget(self):
        """What one budget of computation buys on validation, by one recipe: ResNet-44 after ten epochs, and with less
        computation in thirty a net of 16 layers and fewer weights, tied and untied."""
        small = {"n": [1, 3, 3], "width": 24, "stem": "pooled"}
        nets = {"tied": "recnet", "untied": "resnet"}
        arms = {f"{arm}, 16 layers": self.cifar(net, epochs=30, final=False, **small) for arm, net in nets.items()}
        return arms | {"untied, 44 layers": self.B2()["untied"]}

    def race(self):
        """How low the error of a net comes in little time: all images, smoothed labels, and wide nets of 16 layers."""
        recipe = replace(MODERN, label_smoothing=0.1)
        return {
            label: self.cifar(net, recipe, epochs, n=[1, 3, 3], **options)
            for label, (net, epochs, options) in RACERS.items()
        }

    def tuned_net(self, arm, epochs, **options):
        """A net of one of C11's arms, trained at its arm's rate, or one of several states."""
        net = {"tied": "recnet", "states": "feedback"}.get(arm, "resnet")
        return self.cifar(net, self.tuned[arm], epochs, **options)

    def shorter(self):
        """C11's pair in fewer epochs, and at a smaller depth too, which the rule does not ask for."""
        return {
            f"{arm} n = {n}": self.tuned_net(arm, self.size.long, n=n)
            for n in (3, self.deep)
            for arm in ("tied", "untied")
        }

    def rates(self):
        """Each arm's rate at full scale, chosen on validation from the same three."""
        return {
            f"{label}, rate {rate}": self.cifar(net, replace(MODERN, learning_rate=rate), final=False, **options)
            for label, (net, options) in self.contenders().items()
            for rate in RATES
        }

    def first(self):
        """The same choice by the first recipe, and that of E."""
        equals = {f"equal parameters, {label}": ("resnet", options) for label, options in EQUAL_PARAMETERS.items()}
        contenders = self.contenders()
        return {
            f"{label}, rate {rate}": self.cifar(net, replace(FIRST, learning_rate=rate), final=False, **options)
            for label, (net, options) in (contenders | equals).items()
            for rate in (FIRST_RATES if label in contenders else [FIRST.learning_rate])
        }

    def contenders(self):
        """The arms of C11, {label: (architecture, options)}."""
        equal = {f"equal parameters, {EQUAL}": ("resnet", EQUAL_PARAMETERS[EQUAL])}
        return {"tied": ("recnet", {"n": self.deep}), "untied": ("resnet", {"n": self.deep})} | equal

    def C13(self):
        """Each conjecture on the paper's RecNet (P1) and on the true one (n = 3 or less, its base without dropout,
        with ReLU)."""
        n = self.middle
        arms = {"paper's": self.reading("P1", recurrent=True), "true": self.cifar("recnet", n=n, final=False)}
        if "P3" in self.size.readings:
            arms["paper's, no dropout"] = self.reading("P3", recurrent=True)
            arms["paper's, ReLU"] = self.reading("P5", recurrent=True)
        for steps in self.size.unrolls:
            arms[f"paper's, {steps} step{'s' * (steps > 1)}"] = self.reading("P1", recurrent=True, steps=steps)
        arms["true, dropout 0.5"] = self.cifar("recnet", n=n, dropout=0.5, final=False)
        if self.full:
            arms["true, tanh"] = self.cifar("recnet", n=n, activation="tanh", final=False)
            arms["true, n = 7"] = self.cifar("recnet", n=7, final=False)
        return arms

    def C15(self):
        arms = {
            f"{kind}, {name}": self.reading(name, kind == "RecNet")
            for name in self.size.readings
            for kind in ("depth-1", "RecNet")
        }
        for kind in ("depth-1", "RecNet"):
            arms[f"{kind}, P1, final"] = self.reading("P1", kind == "RecNet", final=True)
        for steps in self.size.unrolls:
            arms[f"{steps} step{'s' * (steps > 1)}, final"] = self.reading("P1", True, final=True, steps=steps)
        recipe = FIRST if self.full else MODERN
        return arms | {"ResNet-8, final": self.cifar("resnet", recipe, self.size.long, n=1)}

    def C16(self):
        return self.C4() | self.baselines()

    def baselines(self):
        """C16's nets on MNIST, which take minutes: the CNN and what has no convolutions."""
        nets = {"CNN": "mnist_cnn", "softmax regression": "softmax", "MLP": "mlp"}
        return {f"MNIST {label}": self.mnist(net) for label, net in nets.items()}

    def nearest(self):
        """The reading whose RecNet came nearest to 45 % on validation, on all images; of the depth-1 nets P1 came
        nearest to 54 %, which C7 runs anyway."""
        return {f"{NEAREST} RecNet, final": self.reading(NEAREST, True, final=True)}

    def walk(self):
        """The residual families on MNIST, where a reader repeats the whole walk in a minute."""
        return {
            "MNIST CNN": self.mnist("mnist_cnn"),
            "MNIST ResNet": self.mnist("resnet", n=2),
            "MNIST RecNet": self.mnist("recnet", n=2),
        }

    def precision(self):
        """The same pair in both precisions, to show that no difference between nets is the precision's."""
        return {
            f"{label}, {precision}": replace(
                self.cifar(net, replace(MODERN, precision=precision), 3, n=3, final=False), probes=()
            )
            for label, net in (("tied", "recnet"), ("untied", "resnet"))
            for precision in ("bfloat16", "float32")
        }

    # -- beyond the paper -------------------------------------------------------------------------------------------

    def B1(self):
        norms = list(NORMS.items())[: self.size.norms]
        return {label: self.cifar("recnet", n=self.middle, final=False, **norm) for label, norm in norms}

    def B2(self):
        return {
            "tied": self.cifar("recnet", n=self.deep, final=False),
            "untied": self.cifar("resnet", n=self.deep, final=False),
        }

    def B3(self):
        """The aim as a user would want it; one size alone, since a smaller one would be another question."""
        return {label: self.tuned_net(arm, self.size.long, **options) for label, (arm, options) in AIM.items()}

    def B4(self):
        """As many steps for the last state as a stage of the deepest nets has."""
        return {
            f"{states} states, {words}": self.cifar(
                "feedback", states=states, steps=self.deep + states - 1, feedback=feedback, final=False
            )
            for states in (2, 3)
            for words, feedback in (("with feed-back", True), ("without", False))
        }

    def B5(self):
        return self.by_depth("residual", "resnet")

    def B6(self):
        """From the paper's RecNet to the tied deep one, one change a bar, in this order."""
        long, modern = {"epochs": self.size.long}, self.tuned["untied"]
        return {
            "the paper's RecNet": self.reading("P1", recurrent=True, final=True),
            "residual stages for flatten + RNN": self.cifar("resnet", PAPER, **long, n=1, stem="paper"),
            "stem: 3x3, no pooling": self.cifar("resnet", PAPER, **long, n=1),
            "optimiser and schedule": self.cifar("resnet", replace(modern, augment=False), **long, n=1),
            "augmentation": self.cifar("resnet", modern, **long, n=1),
            f"depth: n = {self.deep}": self.tuned_net("untied", n=self.deep, **long),
            "tying": self.tuned_net("tied", n=self.deep, **long),
        }

    def B7(self):
        nets = {
            "no stage": ("resnet", {}),
            "stage 1 alone": ("recnet", {"tied": (True, False, False)}),
            "stage 3 alone": ("recnet", {"tied": (False, False, True)}),
            "all stages": ("recnet", {}),
        }
        if self.full:
            nets["all, and fed their input"] = ("recnet", {"feed": True})
            nets["one block for all"] = ("recnet", {"whole": True, "width": 24})  # FLOPs within 5 % of the others'
        return {label: self.cifar(net, n=self.middle, final=False, **options) for label, (net, options) in nets.items()}
