#!/usr/bin/env python3
"""Writes prompts to train adapters on, one JSON object a line: {"category": ..., "prompt": ...}.

  make_prompts.py texts  COUNT SEED           articles, stories, e-mails to be written: their answers are documents
  make_prompts.py tasks  COUNT SEED TEXTS     all tasks; TEXTS: the JSONL that `s3d-train data` made of "texts" prompts
  make_prompts.py code   COUNT SEED           Python functions to write or to complete

Everything is made from the word lists below by a random generator with the given seed, and from texts that the target
model wrote itself. No prompt of an evaluation set is in here; the kinds of tasks are those that people ask for.
"""
import json
import random
import sys

NAMES = ("Mara Oyelaran, Tobias Lind, Ines Carvalho, Dmitri Volkov, Aisha Rahman, Peter Novak, Lucia Ferri, Kenji Mori, "
         "Hannah Weiss, Omar Haddad, Clara Jensen, Samuel Adeyemi, Priya Nair, Jonas Berg, Elena Petrova, Marco Silva, "
         "Ruth Amsel, Daniel Okafor, Sofia Lindqvist, Henry Walsh, Nadia Karim, Paul Lefevre, Greta Holm, Victor Sandoval, "
         "Linh Tran, Grace Mbeki, Arthur Finch, Yara Costa, Felix Brandt, Noor Aziz").split(", ")
PLACES = ("Bergen, Porto, Lagos, Kyoto, Tallinn, Valparaiso, Cork, Ghent, Nairobi, Oaxaca, Halifax, Trieste, Hobart, Riga, "
          "Cusco, Lyon, Bristol, Cape Town, Denver, Seoul, Graz, Malmo, Quito, Tunis, Ottawa, Leipzig, Georgia, Ohio, Texas, "
          "Kerala").split(", ")
TOPICS = ("a flooded library, a new tram line, a school garden, the price of bread, a lost violin, a bridge that was closed, "
          "a record heat wave, a football final, a museum theft, a hospital strike, a rescued whale, a chess prodigy, "
          "a wind farm, a bakery fire, an election recount, a forest trail, a night market, a broken dam, a coral reef, "
          "a film festival, a space telescope, a bank merger, a stolen dog, a marathon winner, a vaccine trial, "
          "a water shortage, a volcano, a robot waiter, a cycling race, an old lighthouse, a court ruling, a data leak, "
          "a charity concert, a train delay, a new species of frog, a solar eclipse, a storm warning, a village school, "
          "a hiring freeze, an airline strike, a family reunion, a castle restoration, a bee colony, a street musician, "
          "a rent protest, a car recall, a quiet mountain village, an award for nurses, a lottery ticket, a shipwreck").split(", ")
SUBJECTS = ("photosynthesis, inflation, the French Revolution, black holes, plate tectonics, the immune system, supply and "
            "demand, the water cycle, machine learning, DNA replication, the Roman Republic, electric motors, game theory, "
            "climate change, the Cold War, neural networks, vaccines, gravity, the Silk Road, jazz, entropy, probability, "
            "the stock market, Shakespeare's tragedies, evolution, antibiotics, the Renaissance, superconductors, "
            "cryptography, ocean currents, stoicism, the Industrial Revolution, semiconductors, human memory, taxation, "
            "earthquakes, the periodic table, orbital mechanics, enzymes, existentialism, urban planning, genetics, "
            "colonialism, the nervous system, radio waves, constitutional law, kinetic energy, social contracts, "
            "batteries, the Ottoman Empire").split(", ")
HOBBIES = ("gardening, running, baking bread, chess, photography, hiking, playing the guitar, knitting, cycling, swimming, "
           "painting, learning Spanish, yoga, woodworking, bird watching, cooking, writing poems, saving money, meditation, "
           "public speaking").split(", ")
ROLES = ("a pirate captain, a medieval blacksmith, a strict librarian, a detective in 1920s London, a friendly robot, a Mars "
         "colonist, a grumpy chef, a time traveller, a football coach, an old sailor, a museum guide, a poet, a village "
         "doctor, a news anchor, a physics teacher, a talking cat, a tour guide in Rome, a sceptical scientist").split(", ")
ANIMALS = "fox, owl, whale, tortoise, wolf, sparrow, bear, octopus, rabbit, camel".split(", ")
ITEMS = "apples, books, pencils, tickets, bottles, stamps, marbles, cookies, shirts, eggs, boxes, coins, flowers, toys".split(", ")
LANGUAGES = "French, Spanish, German, Italian, Portuguese, Dutch".split(", ")

TEXTS = [
    "Write a news article about {topic} in {place}. Mention {name} and {name2}, at least three numbers and a date.",
    "Write a news report of about 250 words: {topic}, {place}. Quote {name}.",
    "Write a short encyclopedia article about {subject}.",
    "Write a short encyclopedia article about an invented film called \"{title}\" directed by {name}: plot, cast, release.",
    "Write a short encyclopedia article about an invented song called \"{title}\" by {name}: recording, release, charts.",
    "Write a short biography of {name}, born in {place}, with dates and works.",
    "Write a short story that takes place in {place} and has to do with {topic}. The main character is {name}.",
    "Write an e-mail from {name} to {name2} about {topic}.",
    "Write a product review of about 150 words for something that helps with {hobby}.",
    "Write a page of minutes of a meeting in {place} about {topic}. {name} and {name2} disagree.",
    "Write a history of the town of {place} in four paragraphs.",
    "Write an interview of {name} about {hobby}, with five questions and answers.",
]
TITLES_A = "Silent, Golden, Broken, Last, Blue, Distant, Hidden, Winter, Paper, Burning, Lonely, Second".split(", ")
TITLES_B = "River, Letter, Garden, Train, Promise, Summer, Mirror, Harbour, Song, Road, Window, Star".split(", ")

ON_TEXT = [
    "Summarize: {doc}", "Summarize: {doc}", "Summarize the following text in three sentences.\n\n{doc}",
    "{doc}\n\nSummarize this text in one paragraph.", "What is the main point of this text?\n\n{doc}",
    "Extract all names of people and places from the text as a bulleted list.\n\n{doc}",
    "List every number in the text and say what it stands for.\n\n{doc}",
    "Read the text and answer as JSON with the keys \"title\", \"people\", \"place\" and \"summary\".\n\n{doc}",
    "Give the text a title and three keywords.\n\n{doc}", "Rewrite the text for a child of ten.\n\n{doc}",
    "{doc}\n\nQuestion: What happened, and where?\nAnswer:", "{doc}\n\nQuestion: Who is named in the text?\nAnswer:",
    "Answer the question with the help of the text.\n\nText: {doc}\n\nQuestion: Why is this important?",
    "{doc}\n{doc2}\n\nAnswer the question: which people are named, and what did they do?",
    "{doc}\n{doc2}\n\nWhat do both texts have in common?", "Write three questions that the text answers, with the answers.\n\n{doc}",
    "Translate into {language}: {sentence}", "Translate into {language}: {sentence}",
    "Translate {language} to English: {foreign}", "Translate the following sentence into English: {foreign}",
    "Correct the grammar and rewrite in formal English: {sentence}", "Is the tone of this sentence positive, negative or neutral? {sentence}",
]
FOREIGN = {
    "German": ("Der {n} wurde im Jahr {y} von {name} in {place} gegründet und hatte damals {k} Mitglieder .|Nach dem Spiel sagte "
               "{name} , die Mannschaft habe in {place} verdient gewonnen .|Die Brücke über den Fluss war {k} Tage lang "
               "gesperrt , weil das Wasser zu hoch stand .|In {place} leben heute etwa {k} Tausend Menschen , viele davon "
               "arbeiten im Hafen .|{name} schrieb {y} ihr erstes Buch und zog danach nach {place} .").replace("{n}", "Verein"),
    "French": ("La gare de {place} a été ouverte en {y} et accueille {k} trains par jour .|{name} a déclaré que la décision "
               "serait prise avant la fin du mois .|Le village se trouve à {k} kilomètres de {place} et possède une vieille "
               "église .|Après la tempête , les habitants de {place} ont nettoyé les rues ensemble ."),
    "Spanish": ("La biblioteca de {place} abrió sus puertas en {y} con {k} libros .|{name} ganó la carrera después de {k} "
                "kilómetros bajo la lluvia .|Los vecinos de {place} piden más autobuses por la noche .|El museo recibe cada "
                "año a {k} mil visitantes ."),
    "Italian": ("Il mercato di {place} è aperto dal {y} e conta {k} banchi .|{name} ha vissuto {k} anni a {place} prima di "
                "tornare a casa .|La strada è stata chiusa per {k} giorni a causa della neve ."),
    "Portuguese": ("O farol de {place} foi construído em {y} e tem {k} degraus .|{name} disse que a escola precisa de {k} novos "
                   "professores ."),
    "Dutch": ("De fabriek in {place} werd in {y} gesloten en {k} mensen verloren hun baan .|{name} vertelde dat het feest {k} "
              "dagen duurde ."),
}
CHAT = [
    "What is {subject}?", "Explain {subject} to a beginner.", "Explain {subject} in simple words, with an example.",
    "How does {subject} affect daily life?", "Why is {subject} important? Give three reasons.",
    "Compare {subject} and {subject2}.", "What are common mistakes when people think about {subject}?",
    "Describe the relation between {subject} and {subject2} and justify your answer.", "Who discovered or shaped {subject}, and when?",
    "Give me five tips for {hobby}.", "I want to start {hobby} but have little time. What should I do?",
    "Make a weekly plan for {hobby}.", "What do I need for {hobby}? Make a table.", "Suggest a birthday present for a friend who loves {hobby}.",
    "Write a short poem about {subject}.", "Write a short story about a {animal} in {place}.", "Write a dialogue between a {animal} and a {animal2}.",
    "Write a polite e-mail to {name} to ask about {topic}.", "Write an e-mail to my manager {name}: I will be late because of {topic}.",
    "Write a blog post about a trip to {place}, with three places to see.", "Write an advertisement for a course in {hobby}.",
    "Imagine you are {role}. What is your opinion on {subject}?", "Act as {role} and tell me about your day.",
    "Pretend to be {role} and explain {subject}.", "You are {role}. Persuade me to visit {place}.",
    "What are the pros and cons of {subject}?", "Write a persuasive speech about {topic}.", "Write a headline and a lead about {topic} in {place}.",
    "When was the town of {place} founded?", "What is {place} known for?", "What is the capital of the country in which {place} lies?",
    "If I am north of {place} and walk south, where do I come? Explain.", "A {animal} sits left of a {animal2}, and {name} stands behind both. Who is in front?",
    "Name three differences between a {animal} and a {animal2}.", "What would happen if {subject} did not exist?",
    "Which of these does not belong: {animal}, {animal2}, {place}? Why?", "Sort these words by the alphabet: {animal}, {place}, {animal2}, {hobby}.",
    "Write a C++ program that {program}.", "Write a JavaScript function that {program}.", "Write a Python program that {program}.",
    "How do I {program} in Python?", "Write an SQL query that lists the {items} of each customer with their sum.",
    "Write an HTML page with a form about {hobby}.", "Explain what a {data} is and when to use it.",
]
PROGRAMS = ("prints the first n prime numbers, reverses a string, counts the words of a file, sorts a list of names, finds the "
            "largest number of an array, checks for a palindrome, computes a factorial by recursion, merges two sorted lists, "
            "reads a CSV file, finds the common elements of two arrays, removes duplicates from a list, implements binary search, "
            "converts Celsius to Fahrenheit, prints a multiplication table, counts vowels, rolls two dice, implements a stack").split(", ")
DATA = "hash table, linked list, stack, queue, binary tree, graph, heap, set, tuple, dictionary".split(", ")
MATHS = [
    "{name} has {a} {items}. {name2} gives {first} {b} more, and then {first} sells half of them. How many {items} are left?",
    "A shop sells {a} {items} in the morning and {b} times as many in the afternoon. Each costs ${c}. How much money does the shop take in the day?",
    "{name} drives {a} miles a day on {b} days of the week and {c} miles at the weekend. How many miles is that in {d} weeks?",
    "A box holds {a} {items}. {name} has {b} boxes and loses {c} {items}. How many {items} does {first} have?",
    "{name} earns ${a} an hour and works {b} hours a week. After {c} weeks, how much has {first} earned if ${d} a week go to rent?",
    "A class of {a} pupils is split into groups of {b}. How many full groups are there and how many pupils are left?",
    "The price of a coat of ${a} is lowered by {c} percent. What does it cost now?",
    "What is {a} * {b} + {c}?", "Solve for x: {b}x + {c} = {a}.", "If f(x) = {b}x^2 - {c}x + {d}, what is f({d})?",
    "What is the area of a rectangle of {a} by {b} metres, and what is its perimeter?",
    "A train leaves at {d} o'clock and goes {a} kilometres an hour. How far is it after {c} hours?",
    "The sum of two numbers is {a} and their difference is {c}. What are the numbers?",
]

CODE_OBJECTS = [
    ("numbers", "List[int]", "a list of integers", "[3, 1, 2]"), ("values", "List[float]", "a list of floats", "[1.5, 2.0, -3.25]"),
    ("text", "str", "a string", "'hello world'"), ("words", "List[str]", "a list of words", "['apple', 'fig', 'plum']"),
    ("n", "int", "a positive integer", "7"), ("matrix", "List[List[int]]", "a matrix as a list of rows", "[[1, 2], [3, 4]]"),
    ("counts", "Dict[str, int]", "a dictionary from names to counts", "{'a': 2, 'b': 5}"), ("pairs", "List[Tuple[int, int]]", "a list of pairs", "[(1, 2), (3, 4)]"),
]
CODE_TASKS = {
    "List[int]": [("sum_of_even", "the sum of all even numbers", "int"), ("second_largest", "the second largest number, or None if there is none", "Optional[int]"),
                  ("running_max", "the list of the largest number seen so far at each position", "List[int]"), ("count_positive", "how many numbers are positive", "int"),
                  ("remove_every_third", "the list without every third element", "List[int]"), ("differences", "the differences of neighbours", "List[int]"),
                  ("product_of_odd", "the product of the odd numbers", "int"), ("rotate_left", "the list rotated by one to the left", "List[int]"),
                  ("is_increasing", "True if every number is larger than the one before", "bool"), ("most_common", "the most frequent number; of equal ones the smallest", "int"),
                  ("unique_sorted", "the distinct numbers in ascending order", "List[int]"), ("index_of_min", "the position of the smallest number", "int"),
                  ("longest_run", "the length of the longest run of equal numbers", "int"), ("partition", "the negative numbers first, then the others, in their order", "List[int]"),
                  ("prefix_sums", "the list of prefix sums", "List[int]"), ("digits_sum_sort", "the numbers sorted by the sum of their digits", "List[int]")],
    "List[float]": [("mean", "the mean, 0.0 for an empty list", "float"), ("variance", "the variance", "float"), ("normalize", "the values scaled to the range from 0 to 1", "List[float]"),
                    ("closest_to_zero", "the value closest to zero", "float"), ("clip", "the values limited to the range from -1 to 1", "List[float]"),
                    ("median", "the median", "float"), ("weighted_sum", "the sum of every value times its position", "float")],
    "str": [("count_vowels", "how many vowels there are", "int"), ("is_palindrome", "True if it reads the same backwards, without regard to case", "bool"),
            ("reverse_words", "the words in reverse order", "str"), ("remove_spaces", "the text without spaces", "str"), ("first_unique", "the first character that occurs once, or an empty string", "str"),
            ("caesar", "the text with every letter moved by three", "str"), ("to_snake_case", "the camel case name in snake case", "str"), ("count_upper", "how many letters are upper case", "int"),
            ("compress", "runs of equal characters as the character and their number", "str"), ("longest_word", "the longest word", "str"), ("swap_case", "the text with upper and lower case exchanged", "str"),
            ("balanced", "True if all brackets are closed in the right order", "bool"), ("char_counts", "a dictionary from characters to their numbers", "Dict[str, int]")],
    "List[str]": [("longest", "the longest word; of equal ones the first", "str"), ("group_by_length", "a dictionary from lengths to words", "Dict[int, List[str]]"), ("join_sorted", "the words sorted and joined by commas", "str"),
                  ("with_prefix", "the words that begin with 'a'", "List[str]"), ("lengths", "the lengths of the words", "List[int]"), ("anagrams", "True if all words are anagrams of the first", "bool"), ("title_all", "the words with a capital first letter", "List[str]")],
    "int": [("is_prime", "True if it is a prime number", "bool"), ("factorial", "the factorial", "int"), ("fibonacci", "the n-th Fibonacci number", "int"), ("divisors", "all divisors in ascending order", "List[int]"),
            ("digits", "the list of its decimal digits", "List[int]"), ("to_binary", "its binary digits as text", "str"), ("collatz", "the Collatz sequence down to 1", "List[int]"), ("sum_of_squares", "the sum of the squares from 1 to n", "int"),
            ("largest_prime_factor", "the largest prime factor", "int"), ("is_perfect", "True if it equals the sum of its proper divisors", "bool"), ("primes_below", "all primes below n", "List[int]"), ("reverse_digits", "the number with its digits reversed", "int")],
    "List[List[int]]": [("transpose", "the transposed matrix", "List[List[int]]"), ("row_sums", "the sums of the rows", "List[int]"), ("flatten", "all numbers in one list", "List[int]"), ("trace", "the sum of the diagonal", "int"), ("max_in_rows", "the largest number of each row", "List[int]")],
    "Dict[str, int]": [("invert", "a dictionary from counts to lists of names", "Dict[int, List[str]]"), ("top_name", "the name with the largest count", "str"), ("total", "the sum of the counts", "int"), ("sorted_names", "the names by descending count", "List[str]"), ("filter_large", "the entries with a count above ten", "Dict[str, int]")],
    "List[Tuple[int, int]]": [("merge_intervals", "the merged overlapping intervals", "List[Tuple[int, int]]"), ("sort_by_second", "the pairs sorted by their second number", "List[Tuple[int, int]]"), ("to_dict", "a dictionary from first to second numbers", "Dict[int, int]"), ("dot_product", "the sum of the products of the pairs", "int")],
}
EXTRAS = ["", "", "", " Ignore negative values.", " Return an empty result for empty input.", " The input must not be changed.", " Raise ValueError for None.",
          " Do it without the built-in functions.", " Use recursion.", " Use a list comprehension.", " Count equal elements once."]


def filled(rng, template, **more):
    name, name2 = rng.sample(NAMES, 2)
    animal, animal2 = rng.sample(ANIMALS, 2)
    subject, subject2 = rng.sample(SUBJECTS, 2)
    words = {"name": name, "name2": name2, "first": name.split()[0], "place": rng.choice(PLACES), "topic": rng.choice(TOPICS), "subject": subject,
             "subject2": subject2, "hobby": rng.choice(HOBBIES), "role": rng.choice(ROLES), "animal": animal, "animal2": animal2,
             "items": rng.choice(ITEMS), "program": rng.choice(PROGRAMS), "data": rng.choice(DATA), "language": rng.choice(LANGUAGES),
             "title": rng.choice(TITLES_A) + " " + rng.choice(TITLES_B), "a": rng.randint(12, 120), "b": rng.randint(2, 9), "c": rng.randint(3, 30), "d": rng.randint(2, 8),
             "y": rng.randint(1820, 2019), "k": rng.randint(5, 90)}
    words.update(more)
    return template.format(**words)


def code_prompt(rng):
    argument, kind, spoken, example = rng.choice(CODE_OBJECTS)
    name, result, returns = rng.choice(CODE_TASKS[kind])
    extra = rng.choice(EXTRAS)
    doc = f'Return {result}, given {spoken}.{extra}'
    style = rng.random()
    if style < 0.6:
        imports = "from typing import Dict, List, Optional, Tuple\n\n\n" if "[" in kind + returns and rng.random() < 0.8 else ""
        hints = rng.random() < 0.7
        head = f"def {name}({argument}: {kind}) -> {returns}:" if hints else f"def {name}({argument}):"
        examples = f"\n    >>> {name}({example})" if rng.random() < 0.6 else ""
        quote = rng.choice(['"""', '"""', "'''"])
        source = f"{imports}{head}\n    {quote} {doc}{examples}\n    {quote}\n"
        ask = rng.choice(["Complete the following Python function.", "Finish this function.", "Implement the function below.", "Write the body of this Python function."])
        tail = rng.choice([" Reply with the whole function in one code block.", " Show the complete function.", "", " Give the code only."])
        return f"{ask}{tail}\n\n```python\n{source}```"
    if style < 0.9:
        return rng.choice([f"Write a Python function `{name}({argument})` that returns {result}, given {spoken}.{extra}", f"Write a function in Python to compute {result} of {spoken}.{extra}",
                           f"Implement `{name}` in Python: it takes {spoken} and returns {result}.{extra} Add a docstring and two assertions."])
    return rng.choice([f"Write a Python class with a method `{name}` that returns {result}, given {spoken}. Add `__init__` and `__repr__`.", f"Write unit tests with unittest for a function `{name}({argument})` that returns {result}.",
                       f"Explain step by step how to find {result} of {spoken}, then show Python code."])


def read_documents(path):
    documents = []
    for line in open(path, encoding="utf-8"):
        text = json.loads(line).get("answer", "").strip()
        if 300 < len(text) < 4000:
            documents.append(text)
    return documents


def text_prompt(rng, documents):
    document = rng.choice(documents)
    if rng.random() < 0.5:  # cut at a paragraph or a sentence, for all lengths
        end = document.rfind(". ", 200, rng.randint(300, len(document)))
        document = document[: end + 1] if end > 0 else document
    sentences = [s.strip() + "." for s in document.replace("\n", " ").split(". ") if 30 < len(s) < 250]
    language = rng.choice(list(FOREIGN))
    foreign = filled(rng, rng.choice(FOREIGN[language].split("|")))
    template = rng.choice(ON_TEXT)
    if "{foreign}" not in template:
        language = rng.choice(LANGUAGES)
    words = {"doc": document, "doc2": rng.choice(documents)[:1500], "sentence": rng.choice(sentences or ["The shop is closed today."]), "foreign": foreign, "language": language}
    category = "translation" if "ranslate" in template else "text"
    return category, template.format(**words)


def task(rng, documents):
    draw = rng.random()
    if draw < 0.36:
        return text_prompt(rng, documents)
    if draw < 0.48:
        return "maths", filled(rng, rng.choice(MATHS))
    if draw < 0.60:
        return "code", code_prompt(rng)
    return "chat", filled(rng, rng.choice(CHAT))


def main():
    kind, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(f"{kind}-{seed}")
    documents = read_documents(sys.argv[4]) if kind == "tasks" else []
    seen = set()
    for _ in range(50 * count):
        if kind == "texts":
            category, prompt = "writing", filled(rng, rng.choice(TEXTS))
        elif kind == "code":
            category, prompt = "code", code_prompt(rng)
        else:
            category, prompt = task(rng, documents)
        if prompt in seen:
            continue
        seen.add(prompt)
        print(json.dumps({"category": category, "prompt": prompt}, ensure_ascii=False))
        if len(seen) == count:
            return


if __name__ == "__main__":
    main()
