"""The options of `hirescam train`, a part of the one table in `options`."""

from __future__ import annotations

from pathlib import Path

from hirescam_cli import choices
from hirescam_cli.option import RUN, Option

TABLE, LOSS, TRAINING = "The table", "Masks", "Training"

TRAIN_OPTIONS: tuple[Option, ...] = (
    Option("id-column", str, "id", "Column of the scans' names.", TABLE, metavar="COLUMN"),
    Option("path-column", str, "path", "Column of the scans' paths.", TABLE, metavar="COLUMN"),
    Option(
        "path-template", str, None, "Path made of {id}, {split} and the groups of --id-pattern.", TABLE,
        metavar="TEXT",
    ),
    Option(
        "id-pattern", str, None, "Regular expression for the whole id; its group patient names the patient.", TABLE,
        metavar="REGEX",
    ),
    Option("scans", Path, None, "Folder of relative paths. [default: the table's]", TABLE, metavar="DIR"),
    Option("split-column", str, "split", "Column of train, valid or test.", TABLE, metavar="COLUMN"),
    Option("patient-column", str, "patient", "Column of the patients.", TABLE, metavar="COLUMN"),
    Option(
        "patients", Path, None, "Table of ids and patients, where TABLE does not say.", TABLE, metavar="FILE"
    ),
    Option(
        "label-columns", str, None, "Columns that are called otherwise than the label; repeatable.", TABLE,
        metavar="LABEL=COLUMN", several=True,
    ),
    Option(
        "or-locations", str, None, "A label is 1 where one of its columns LABEL<TEXT>place is.", TABLE,
        metavar="TEXT",
    ),
    Option(
        "mask-loss", str, "none", "What evidence outside the masks costs; lesions: asks for some inside too.", LOSS,
        choices.MASK_LOSS,
    ),
    Option(
        "mask-weight", float, 1.0 / 3.0, "Weight of the mask loss.", LOSS, metavar="W", above=0.0,
        what="a positive number",
    ),
    Option("mask-cells", str, "any", "Which cells a mask allows.", LOSS, choices.MASK_CELLS),
    Option("init", str, "none", "Start weights: none, a ResNet-18 or a checkpoint.", TRAINING, metavar="FILE"),
    Option(
        "epochs", int, 100, "Passes over the training scans.", TRAINING, metavar="N", lowest=1, what="1 or more"
    ),
    Option(
        "patience", int, 15, "End after so many epochs without a better one.", TRAINING, metavar="N", lowest=1,
        what="1 or more",
    ),
    Option("monitor", str, "loss", "What makes an epoch better, on the validation scans.", TRAINING, choices.MONITOR),
    Option("optimizer", str, "sgd", "Optimiser.", TRAINING, choices.OPTIMIZER),
    Option(
        "lr", float, 1e-3, "Learning rate.", TRAINING, metavar="R", above=0.0, what="a positive number"
    ),
    Option("schedule", str, "constant", "Course of the learning rate.", TRAINING, choices.SCHEDULE),
    Option(
        "momentum", float, 0.99, "Momentum of sgd.", TRAINING, metavar="M", lowest=0.0, highest=0.9999,
        what="a number from 0 to below 1",
    ),
    Option(
        "weight-decay", float, 1e-7, "Weight decay.", TRAINING, metavar="D", lowest=0.0, what="0 or more"
    ),
    Option(
        "accumulate", int, 1, "Scans of each process in a step.", TRAINING, metavar="N", lowest=1, what="1 or more"
    ),
    Option(
        "clip", float, 0.0, "Greatest norm of a step's gradient; 0: any.", TRAINING, metavar="NORM", lowest=0.0,
        what="0 or more",
    ),
    Option(
        "warm-up", int, 0, "Steps before the first epoch on positions of many scans; needs --mask-loss lesions.",
        TRAINING, metavar="N", lowest=0, what="0 or more",
    ),
    Option(
        "warm-up-lr", float, None, "Learning rate of the warm-up. [default: --lr]", TRAINING, metavar="R", above=0.0,
        what="a positive number",
    ),
    Option(
        "warm-up-positions", int, 24, "Positions, each of another scan, in a step of the warm-up.", TRAINING,
        metavar="N", lowest=2, what="2 or more",
    ),
    Option("augment", str, "papers", "Changes of the training scans.", TRAINING, choices.AUGMENT),
    Option("calibrate", str, "platt", "Scale and offset of each logit, from validation.", TRAINING, choices.CALIBRATE),
    Option("thresholds", str, "youden", "How thresholds follow from validation.", TRAINING, choices.THRESHOLDS),
    Option("deterministic", bool, False, "Only algorithms that give the same bits, on a GPU too.", TRAINING),
    Option("cache", Path, None, "Folder that keeps prepared scans.", RUN, metavar="DIR"),
    Option(
        "workers", int, 2, "Scans read ahead.", RUN, metavar="N", lowest=1, what="1 or more", code="option-value"
    ),
    Option(
        "checkpoint-minutes", float, 10.0, "Time between checkpoints within an epoch.", RUN, metavar="MIN",
        lowest=0.0, what="0 or more",
    ),
    Option("continue-anyway", bool, False, "Go on though data or options are other ones.", RUN),
    Option("log", str, ("csv",), "Where figures go besides.", RUN, choices.LOG, several=True),
)  # fmt: skip
