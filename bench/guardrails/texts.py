"""texts.py COUNT SEED: texts with personal data, drawn from the templates, people and companies of presidio-evaluator (MIT).

Prints a list of {"full_text", "template_id", "spans": [{"start_position", "end_position", "entity_type"}]}. The package's own
generator draws them; the rest of the package (models, plots, notebooks) is not needed, so it is installed without what it
depends on, and its top level, which would import all that, is not run.
"""

import contextlib
import importlib
import importlib.util
import json
import pathlib
import random
import re
import sys
import types


def generator():
    home = list(importlib.util.find_spec("presidio_evaluator").submodule_search_locations)
    package = types.ModuleType("presidio_evaluator")
    package.__path__ = home
    sys.modules["presidio_evaluator"] = package
    tags = importlib.import_module("presidio_evaluator.span_to_tag")
    package.span_to_tag, package.tokenize = tags.span_to_tag, tags.tokenize
    objects = importlib.import_module("presidio_evaluator.data_objects")
    package.InputSample, package.Span = objects.InputSample, objects.Span
    folder = types.ModuleType("presidio_evaluator.data_generator")
    folder.__path__ = [home[0] + "/data_generator"]
    folder.raw_data_dir = pathlib.Path(home[0]) / "data_generator/raw_data"
    sys.modules["presidio_evaluator.data_generator"] = folder
    return importlib.import_module("presidio_evaluator.data_generator.presidio_sentence_faker")


def mended(sample):
    """A drawn text with line ends and signs of quotation as its template has them: the generator writes others."""
    text, at = "", []
    for piece in re.split(r"(\\n|}})", sample.full_text):
        start = len(text)
        text += {"\\n": "\n", "}}": ">"}.get(piece, piece)
        at += [min(start + offset, len(text)) for offset in range(len(piece))]
    at.append(len(text))
    spans = [
        {"start_position": at[it.start_position], "end_position": at[it.end_position], "entity_type": it.entity_type}
        for it in sample.spans
    ]
    return {"full_text": text, "template_id": sample.template_id, "spans": spans}


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    # The generator tells of its progress on standard output.
    with contextlib.redirect_stdout(sys.stderr):
        random.seed(seed)
        module = generator()
        # The names of hospitals would be asked of a web site; no template has one.
        providers = [it for it in module.presidio_additional_entity_providers if it.__name__ != "HospitalProvider"]
        faker = module.PresidioSentenceFaker("en_US", 0.05, entity_providers=providers, random_seed=seed)
        samples = faker.generate_new_fake_sentences(count)
    print(json.dumps([mended(sample) for sample in samples]))


if __name__ == "__main__":
    main()
