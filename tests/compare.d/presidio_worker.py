"""Presidio beside `masking.py`: for each line on standard input, the path of a JSON list of texts, analyses these
texts one after the other and prints seconds, CPU seconds and how much it found.

Its recognizers for English, as they are loaded by default, but for those that need a language model; nothing is
downloaded.
"""

import json
import logging
import sys
import time

logging.disable(logging.CRITICAL)

import tldextract  # noqa: E402

# The list of suffixes that comes with it, not the newest from the network.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: E402
from presidio_analyzer.nlp_engine.no_op_nlp_engine import NoOpNlpEngine  # noqa: E402


def engine():
    language = NoOpNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
    language.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    for recognizer in list(registry.recognizers):
        if not hasattr(recognizer, "patterns") and type(recognizer).__name__ != "PhoneRecognizer":
            registry.recognizers.remove(recognizer)
    return AnalyzerEngine(registry=registry, nlp_engine=language, supported_languages=["en"])


def main():
    analyzer = engine()
    names = sorted(type(one).__name__.removesuffix("Recognizer") for one in analyzer.registry.recognizers)
    print(json.dumps({"recognizers": names}), flush=True)
    for line in sys.stdin:
        with open(line.strip()) as file:
            texts = json.load(file)
        began, cpu = time.perf_counter(), time.process_time()
        found = sum(len(analyzer.analyze(text=text, language="en")) for text in texts)
        done = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "found": found}
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
