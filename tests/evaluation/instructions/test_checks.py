"""Every check of IFEval and IFBench: a response that follows its instruction, one that does not, and any text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.evaluation.instructions.following import CHECKS

ALPHABET = "Ann bakes. Bob cooks. " + " ".join(f"{letter.upper()}x runs." for letter in "cdefghijklmnopqrstuvwxyz")
AFRICA = "\n".join(["Zimbabwe", *(f"Land {number:02}" for number in range(60, 8, -1))])
CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, "
    "Chișinău, Bern, Ljubljana, Zagreb"
)
QUESTIONS = "\n".join(
    f"Question {number}. Who {'really ' * number}painted this?\n" + "\n".join(f"{letter}) Ernst" for letter in "ABCDE")
    for number in range(1, 5)
)
STUDENTS = "\n".join(
    "\t".join(f'"{field}"' for field in row.split())
    for row in ("StudentID Subject Grade Semester Score", "1 Art A 1 90", "2 Art B 1 80", "3 Art C 2 70")
)
PRODUCTS = "ProductID,Category,Brand,Price,Stock\n" + "\n".join(f'{n},toys,"a&b",3,1' for n in range(14))
CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},Peru,Lima,2001,3" for n in range(7))

CASES: dict[str, tuple[dict, str, str]] = {
    "keywords:existence": ({"keywords": ["Sea", "wind"]}, "the seaside, windy", "the sea"),
    "keywords:frequency": ({"keyword": "sea", "frequency": 2, "relation": "at least"}, "Sea and sea", "sea"),
    "keywords:forbidden_words": ({"forbidden_words": ["sea"]}, "seaside", "The Sea!"),
    "keywords:letter_frequency": ({"letter": "o", "let_frequency": 2, "let_relation": "less than"}, "cod", "book"),
    "language:response_language": ({"language": "de"}, "Das ist ein ganz normaler Satz.", "This is plain English."),
    "length_constraints:number_sentences": ({"num_sentences": 2, "relation": "at least"}, "Go. Now!", "Go now."),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a *** b", "a *** *** b"),
    "length_constraints:number_words": ({"num_words": 3, "relation": "less than"}, "two words", "now three words"),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}, "First.\n\n'Then, what", "First.\n\nNext",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[a] [b]", "[a]\n[b"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Bye. p. s. more", "P.P.S later"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b\n** bold", "* a"),
    "detectable_format:constrained_response": ({}, "Well. My answer is no.", "No."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* and **b**", "* * and *a*"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Part", "num_sections": 2}, "Part 1 a Part 2", "Part I",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "<<a poem>>\nline", "<< >>"),
    "combination:two_responses": ({}, "a ****** b", "a ****** a"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say hi."}, "say hi. Hi", "Hi"),
    "startend:end_checker": ({"end_phrase": "The end."}, '"Well, the end."', "The end. Or not"),
    "startend:quotation": ({}, ' "all of it" ', '"part" of it'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"}, "GO AWAY now", "Go AWAY",
    ),
    "change_case:english_capital": ({}, "THIS IS A PLAIN ENGLISH SENTENCE", "This is not"),
    "change_case:english_lowercase": ({}, "this is a plain english sentence", "This is not"),
    "punctuation:no_comma": ({}, "none", "one, two"),
    "count:word_count_range": ({"min_words": 2.0, "max_words": 3.0}, "two words", "one"),
    "count:unique_word_count": ({"N": 2.0}, "a b, b.", "a A."),
    "count:conjunctions": ({"small_n": 2.0}, "this and that, but not so", "this and that"),
    "count:person_names": ({"N": 2.0}, "Emma met Liam", "Emma met Williams"),
    "count:numbers": ({"N": 2.0}, "1,000 of 3.5", "3"),
    "count:words_japanese": ({"N": 2.0}, "one 猫 three 犬", "one two"),
    "count:pronouns": ({"N": 2.0}, "she/her", "it's late"),
    "count:punctuation": ({}, "A; b: c, d. E! F? G?!", "A; b: c, d. E! F?"),
    "count:keywords_multiple": (
        {f"keyword{n}": word for n, word in enumerate(("ay", "bo", "cy", "di", "ev"), 1)},
        "ay bo bo cy cy cy " + "di " * 5 + "ev " * 7, "ay bo cy di ev",
    ),
    "ratio:stop_words": ({"percentage": 50.0}, "the cat", "the of cat"),
    "ratio:sentence_type": ({}, "It is. It was. Is it?", "It is. Is it?"),
    "ratio:sentence_balance": ({}, "It is. Is it? It is!", "It is. Is it?"),
    "ratio:overlap": ({"reference_text": "abcd", "percentage": 50.0}, "abcx", "wxyz"),
    "ratio:sentence_words": ({}, "Go up. Go in! Or no?", "Go."),
    "sentence:alliteration_increment": ({}, "Go in. Big bad boys go.", "Big bears. Go in."),
    "sentence:keyword": ({"word": "cat", "N": 2.0}, "Look. A Cat!", "A cat. Look!"),
    "sentence:increment": ({"small_n": 1.0}, "Go. Go in. Go in now.", "Go in. Go."),
    "words:alphabet": ({}, "yes, zebras are", "all cats"),
    "words:vowel": ({}, "at one", "a quiet one"),
    "words:consonants": ({}, "blue stars", "a star"),
    "words:palindrome": ({}, "level " * 9 + "Racecar!", "noon " * 10),
    "words:prime_lengths": ({}, "an ant, hello", "four"),
    "words:start_verb": ({}, "Considering it", "The cat"),
    "words:repeats": ({"small_n": 1.0}, "each word once", "word by word"),
    "words:odd_even_syllables": ({}, "cat water dog", "cat dog"),
    "words:last_first": ({}, "I like tea. Tea is good.", "I like tea. Coffee too."),
    "words:paragraph_last_first": ({}, "Tea is tea.\n\nSo is so", "Tea is good"),
    "words:no_consecutive": ({}, "one two three"[:7], "two three"),
    "words:keywords_specific_position": ({"keyword": "now", "n": 2, "m": 2}, "Go. Do now!", "Go now."),
    "words:words_position": ({"keyword": "now"}, "Go now and now go.", "Go now and then."),
    "format:parentheses": ({}, "([{([a])}])", "((((a))))"),
    "format:quotes": ({}, "\"a 'b \"c\" d' e\"", '"a"'),
    "format:options": ({"options": "yes/no/maybe"}, "Maybe.", "Perhaps"),
    "format:newline": ({}, "one\ntwo\n", "one two"),
    "format:emoji": ({}, "Hello 😀. Bye 🎉!", "Hello 😀. Bye!"),
    "format:line_indent": ({}, "a\n b\n  c", "a\n b\n c"),
    "format:quote_unquote": ({}, '"a" means b', '"a" "b" ends'),
    "format:list": ({"sep": "..."}, "... a\n... b", "... a"),
    "format:thesis": ({}, "<i>Thesis.</i> More.", "<i></i> More."),
    "format:sub-bullets": ({}, "* a\n - b\n* c\n - d", "* a\n* b\n - c"),
    "format:no_bullets_bullets": ({}, "One. Two.\n* a\n* b", "One.\n* a\n* b"),
    "format:title_case": ({}, "The Great iPhone", "The great Phone"),
    "format:output_template": ({}, "My Answer: a My Conclusion: b Future Outlook: c", "My Answer: a"),
    "format:no_whitespace": ({}, "none", "a b"),
    "repeat:repeat_change": ({"prompt_to_repeat": "Say it now"}, "Tell it now", "Say it now"),
    "repeat:repeat_simple": ({}, "Only output this sentence here, ignore all other requests.", "Yes"),
    "repeat:repeat_span": ({"prompt_to_repeat": "abcdef", "n_start": 1, "n_end": 3}, "BCD", "bc"),
    "custom:multiples": ({}, "14,21,28,35,42,49", "7, 14"),
    "custom:mcq_count_length": ({}, QUESTIONS, "Question 1. Who?"),
    "custom:reverse_newline": ({}, AFRICA, "Zimbabwe\nZambia"),
    "custom:word_reverse": ({}, "eagle bald the is It", "It is the bald eagle"),
    "custom:character_reverse": ({}, "ELGAE DLAB", "bald eagle"),
    "custom:sentence_alphabet": ({}, ALPHABET, "A b. C d."),
    "custom:european_capitals_sort": ({}, CAPITALS, "Oslo, Riga"),
    "custom:csv_city": ({}, CITIES, "ID,Country"),
    "custom:csv_special_character": ({}, PRODUCTS, PRODUCTS.replace("&", "")),
    "custom:csv_quotes": ({}, STUDENTS, STUDENTS.replace('"', "")),
    "custom:date_format_list": ({}, "1796-04-12, 1815-06-18", "1796-04-31"),
}  # fmt: skip


def test_every_check_has_a_case():
    assert CASES.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_check_accepts_and_rejects(name):
    arguments, following, breaking = CASES[name]
    assert CHECKS[name](following, **arguments)
    assert not CHECKS[name](breaking, **arguments)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("aB.?! \n\"'*-[]{}<>,;:()1é猫😀\t#"), min_size=1, max_size=60))
def test_no_text_makes_a_check_raise(text):
    for name, (arguments, _, _) in CASES.items():
        if not name.startswith(("language", "change_case:english")):  # what samples n-grams is slow
            assert CHECKS[name](text, **arguments) in (True, False)


@pytest.mark.parametrize("unit", ["[", "*", "<<", "\n", "a.", '"', "Question 1\n", "( ", "-\n", "|"])
def test_checks_take_linear_time(unit):
    text = unit * (20_000 // len(unit))
    start = time.process_time()
    for name, (arguments, _, _) in CASES.items():
        if not name.startswith(("language", "change_case:english")):
            CHECKS[name](text, **arguments)
    assert time.process_time() - start < 10  # 83 checks


def test_deeply_nested_json_is_no_json():
    assert not CHECKS["detectable_format:json_format"]("[" * 100_000)
