"""The doors by name, and where each is. Imports none of them: the fuzzer has to come first."""

DOORS = {
    "messages": "tests.fuzz.test_messages",
    "options": "tests.fuzz.test_options",
    "buttons": "tests.fuzz.test_buttons",
    "http": "tests.fuzz.test_http",
    "records": "tests.fuzz.test_records",
    "models": "tests.fuzz.test_models",
}
