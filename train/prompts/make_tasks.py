#!/usr/bin/env python3
"""Makes prompts for `s3d-train data`, one JSON object a line: {"kind": ..., "prompt": ...}.

  make_tasks.py --seed 1 --count 2000 short                     > short.jsonl      no document in the prompt
  make_tasks.py --seed 2 --count 300 documents                  > documents.jsonl  asks for documents
  make_tasks.py --seed 3 --count 800 long --texts answers.jsonl > long.jsonl       tasks about documents
  make_tasks.py --seed 4 --count 2000 python                    > python.jsonl     functions to complete or write

Everything is made from the word lists below and a seed; the same call makes the same prompts. `long` takes its documents
from the answers that the model gave to `documents` (the "answer" of each line) and from templates. No benchmark's
prompts are in here.
"""
import argparse
import json
import random
import sys

FIRST = """Ada Amir Anneke Bela Bruno Carmen Chidi Dana Daria Elif Emeka Farid Fiona Goran Greta Hana Hector Ines Ivo Jamal
Jia Kofi Lara Leif Lucia Magda Malik Marta Mei Nadia Nils Noor Oskar Paola Pavel Priya Quentin Ravi Rosa Sami Selma Tariq
Tessa Tomas Uma Viktor Wanda Yara Yusuf Zoe Grace Henry Liam Olivia Ethan Sophie Marcus Julia Peter Karen""".split()
LAST = """Abadi Bergman Castell Dvorak Eriksen Ferreira Gallagher Hoffmann Iyer Jansen Kowalski Lindqvist Moreau Nakamura
Okafor Petrov Quinn Rossi Santos Tanaka Ueda Varga Whitfield Xu Yilmaz Zimmer Carter Bennett Hughes Morgan""".split()
CITY = """Lisbon Bergen Nairobi Osaka Cusco Tallinn Marseille Leeds Austin Denver Halifax Adelaide Pune Krakow Ghent Porto
Izmir Cork Boise Memphis Hanoi Accra Turin Graz Bristol Ottawa Perth Cardiff Tucson Omaha""".split()
COUNTRY = """Norway Kenya Peru Vietnam Portugal Canada Ghana Japan Poland Chile Morocco Finland Greece India Mexico Turkey
Ireland Austria Indonesia Australia Brazil Egypt Iceland Thailand""".split()
JOB = """nurse teacher baker carpenter pilot farmer librarian chemist journalist gardener plumber architect lawyer chef
firefighter translator cashier engineer dentist potter musician painter geologist coach accountant""".split()
ANIMAL = """otter falcon hedgehog octopus elephant beaver penguin bat dolphin fox owl tortoise bee ant wolf salmon camel
crow lizard squirrel whale frog""".split()
THING = """bicycle telescope battery bridge compass lighthouse microscope sewing machine refrigerator violin printing press
clock windmill submarine thermometer camera elevator parachute zipper kettle""".replace("sewing machine", "sewing_machine")
THING = [w.replace("_", " ") for w in THING.replace("printing press", "printing_press").split()]
GOODS = """apples pencils notebooks marbles stickers cupcakes oranges books tickets eggs bottles candles stamps shells
balloons cookies bricks flowers buttons coins""".split()
FOOD = """lentil soup|vegetable curry|banana bread|mushroom risotto|chicken stew|tomato sauce|apple pie|fried rice|pancakes|
bean chili|potato salad|pumpkin soup|baked salmon|flatbread|fruit salad""".replace("\n", "").split("|")
SCIENCE = """photosynthesis|plate tectonics|the water cycle|magnetism|natural selection|osmosis|nuclear fusion|gravity|
the greenhouse effect|vaccines|black holes|friction|sound waves|DNA replication|chemical bonds|the immune system|tides|
entropy|static electricity|the carbon cycle|refraction of light|enzymes|semiconductors|volcanoes|earthquakes|antibiotics|
cell division|radioactive decay|the nitrogen cycle|superconductivity|the periodic table|acids and bases|buoyancy|
the Doppler effect|lightning|the solar system|comets|stem cells|hormones|the heart|the human eye|kidneys|photosensors|
lasers|catalysts|glaciers|ocean currents|soil erosion|pollination|digestion""".replace("\n", "").split("|")
HISTORY = """the Silk Road|the Industrial Revolution|the Roman Republic|the Black Death|the Renaissance|the fall of the Berlin
Wall|the French Revolution|the Ottoman Empire|the Age of Exploration|the Meiji Restoration|ancient Egypt|the Magna Carta|
the Cold War|the suffrage movement|the Hanseatic League|the Inca Empire|the Viking voyages|the Great Depression|the space
race|the printing press in Europe|the Mongol Empire|the abolition of slavery|the Enlightenment|the Treaty of Versailles|
the Byzantine Empire|decolonization in Africa|the Gold Rush|the Reformation""".replace("\n", " ").split("|")
HISTORY = [" ".join(h.split()) for h in HISTORY]
SOCIETY = """remote work|social media|public libraries|city cycling|school uniforms|renewable energy|volunteering|mass tourism|
early childhood education|healthy eating|electric cars|artificial intelligence|public transport|recycling|urban gardening|
minimum wage|online learning|noise pollution|museums|local newspapers|food waste|team sports|space exploration|privacy|
teaching music|learning languages|water conservation|homework|video games|fast fashion""".replace("\n", "").split("|")
SKILL = """learn to swim|save money every month|sleep better|prepare for a job interview|train for a 10 km run|grow tomatoes|
write a resume|stop procrastinating|learn the guitar|cook on a budget|organize a small office|make new friends in a new city|
take better photos|improve my handwriting|study for exams|give a short speech|fix a flat bicycle tire|reduce screen time|
plan a weekend trip|adopt a dog|build a birdhouse|knit a scarf|brew good coffee|keep houseplants alive|read more books|
speak Spanish with confidence|start a small business|write a poem|paint a room|choose a laptop""".replace("\n", "").split("|")
FORMAT = ["", "", "", " Keep it short.", " Answer in one paragraph.", " Give three examples.", " Use a numbered list.",
          " Use bullet points.", " Explain it to a ten-year-old.", " Answer in two or three sentences.", " Think step by step."]


class Maker:
    """Prompts from one random generator."""

    def __init__(self, seed, texts=()):
        self.r = random.Random(seed)
        self.texts = list(texts)

    def one(self, items):
        return self.r.choice(items)

    def name(self):
        return f"{self.one(FIRST)} {self.one(LAST)}"

    def n(self, low, high):
        return self.r.randint(low, high)

    # Short prompts, by kind.

    def explain(self):
        topic = self.one(self.one([SCIENCE, SCIENCE, HISTORY, SOCIETY]))
        return self.one([
            f"What is {topic}?", f"Explain {topic}.", f"Why does {topic} matter?", f"How does {topic} affect everyday life?",
            f"Tell me about {topic}.", f"What are the main ideas behind {topic}?", f"Give me an overview of {topic}.",
            f"What do people often misunderstand about {topic}?", f"Describe the history of {topic}.",
            f"Write a short lesson about {topic} for {self.one(['children', 'students', 'adults', 'beginners'])}.",
            f"What are the causes and effects of {topic}?", f"Can you describe {topic} with an example?",
            f"Compare {topic} and {self.one(SCIENCE + SOCIETY)}.", f"What would happen without {topic}?",
        ]) + self.one(FORMAT)

    def fact(self):
        return self.one([
            f"What is the capital of {self.one(COUNTRY)}?", f"What language do people speak in {self.one(COUNTRY)}?",
            f"Who invented the {self.one(THING)}?", f"When was the {self.one(THING)} invented?",
            f"Where is {self.one(CITY)}?", f"What is {self.one(CITY)} known for?", f"What do {self.one(ANIMAL)}s eat?",
            f"How long does a {self.one(ANIMAL)} live?", f"Where do {self.one(ANIMAL)}s live in the wild?",
            f"Which country has more people, {self.one(COUNTRY)} or {self.one(COUNTRY)}?",
            f"What are the biggest cities in {self.one(COUNTRY)}?", f"What does a {self.one(JOB)} do?",
            f"Who was the first president of {self.one(COUNTRY)}?", f"What currency is used in {self.one(COUNTRY)}?",
            f"When did {self.one(HISTORY)} begin?", f"Who were the key people of {self.one(HISTORY)}?",
            f"What is the difference between a {self.one(ANIMAL)} and a {self.one(ANIMAL)}?",
            f"How many bones does a {self.one(ANIMAL)} have?", f"What is the main ingredient of {self.one(FOOD)}?",
            f"Which river flows through {self.one(CITY)}?", f"How far is {self.one(CITY)} from {self.one(CITY)}?",
            f"When is the best time to visit {self.one(COUNTRY)}?", f"What is the national dish of {self.one(COUNTRY)}?",
        ])

    def advice(self):
        return self.one([
            f"How can I {self.one(SKILL)}?", f"I want to {self.one(SKILL)}. Where do I start?",
            f"Give me {self.n(3, 7)} tips to {self.one(SKILL)}.", f"Make a plan for {self.n(1, 4)} weeks to {self.one(SKILL)}.",
            f"What mistakes should I avoid when I try to {self.one(SKILL)}?",
            f"I am a {self.one(JOB)} and I have little time. How do I {self.one(SKILL)}?",
            f"How do I make {self.one(FOOD)}?", f"Write a recipe for {self.one(FOOD)} for {self.n(2, 8)} people.",
            f"Suggest {self.n(3, 6)} activities for a rainy day in {self.one(CITY)}.",
            f"Plan a {self.n(2, 7)}-day trip to {self.one(COUNTRY)} for a family.",
            f"What gift would suit a {self.one(JOB)} who likes {self.one(SOCIETY)}?",
        ])

    def write(self):
        who, place = self.name(), self.one(CITY)
        return self.one([
            f"Write a short story about a {self.one(JOB)} and a {self.one(ANIMAL)} in {place}.",
            f"Write an email to my {self.one(['manager', 'landlord', 'teacher', 'colleague', 'client'])} about "
            f"{self.one(['a delayed delivery', 'a meeting on Friday', 'a day off', 'a broken heater', 'new prices', 'a mistake in the invoice'])}.",
            f"Write a poem about {self.one(SCIENCE + SOCIETY)}.",
            f"Write a product description for a {self.one(['folding', 'smart', 'wooden', 'solar', 'tiny'])} {self.one(THING)}.",
            f"Write a blog post about {self.one(SOCIETY)} in {place}.",
            f"Write a speech that {who} could give at the opening of a {self.one(['school', 'hospital', 'museum', 'bakery', 'library'])}.",
            f"Write a letter from {who} to a friend about a visit to {self.one(COUNTRY)}.",
            f"Write a dialogue between a {self.one(JOB)} and a {self.one(JOB)} about {self.one(SOCIETY)}.",
            f"Write a review of a {self.one(['hotel', 'restaurant', 'film', 'novel', 'concert'])} in {place}. Mention {self.n(2, 4)} good points and one bad one.",
            f"Write a persuasive essay about {self.one(SOCIETY)}.",
            f"Describe a {self.one(['market', 'harbor', 'forest', 'station', 'castle', 'village'])} at {self.one(['dawn', 'night', 'noon'])} so that a reader can see it.",
            f"Rewrite this sentence in a {self.one(['formal', 'friendly', 'funny'])} way: {self.sentence()}",
            f"Continue this story: {who} opened the door and saw a {self.one(ANIMAL)} on the table.",
            f"Imagine you are a {self.one(JOB)} from {place}. {self.one(['Introduce yourself.', 'What did you do today?', 'What do you think about ' + self.one(SOCIETY) + '?'])}",
            f"Pretend to be a {self.one(ANIMAL)} who can talk. What would you say about {self.one(SOCIETY)}?",
            f"Act as an interviewer for the job of a {self.one(JOB)} and ask me {self.n(3, 6)} questions.",
            f"Give me {self.n(3, 8)} titles for an article about {self.one(SOCIETY)}.",
        ])

    def sentence(self):
        return self.one([
            f"{self.name()} moved to {self.one(CITY)} in {self.n(1950, 2020)} to work as a {self.one(JOB)}.",
            f"The {self.one(ANIMAL)} slept under the {self.one(THING)} all day.",
            f"We can't come to the meeting because the train from {self.one(CITY)} is late.",
            f"The {self.one(FOOD)} was cold and nobody told us why.",
            f"More people in {self.one(COUNTRY)} talk about {self.one(SOCIETY)} every year.",
        ])

    def maths(self):
        a, b, c, d = self.n(2, 60), self.n(2, 25), self.n(2, 12), self.n(2, 9)
        x, y, g, h = self.one(FIRST), self.one(FIRST), self.one(GOODS), self.one(GOODS)
        return self.one([
            f"{x} has {a * d} {g}. {x} gives {b} of them to {y} and buys {c} times as many as are left. How many {g} does {x} have now?",
            f"A box holds {c} {g}. {x} fills {b} boxes and has {d} {g} left over. How many {g} are there in total?",
            f"{x} earns ${a} an hour and works {d} hours a day for {c} days. How much does {x} earn?",
            f"A shop sells {g} for ${d} each and {h} for ${c} each. {x} buys {b} {g} and {a} {h}. How much does {x} pay?",
            f"{x} reads {a} pages a day. The book has {a * c} pages. After {c // 2 + 1} days, how many pages are left?",
            f"{x} is {d} years older than {y}. In {c} years the sum of their ages will be {a + b + d + 2 * c}. How old is {y} now?",
            f"A train travels {a} km in the first hour and {b} km in each of the next {d} hours. How far does it travel altogether?",
            f"A tank holds {a * 10} liters. It loses {b} liters every hour. How much is left after {d} hours?",
            f"{x}, {y} and {self.one(FIRST)} share {a * 3} {g} equally. Then {x} eats {c}. How many does {x} have left?",
            f"A class has {a + 10} students. {b} of them play football and half of the rest sing in the choir. How many sing in the choir?",
            f"Last year {x} sold {a * 4} {g}, and this year {b}% more. How many did {x} sell this year?",
            f"A rectangle is {a} cm long and {b} cm wide. What are its area and its perimeter?",
            f"What is {a} * {b} + {c}?", f"Solve for x: {c}x + {b} = {a + b}.", f"What is {b}% of {a * 10}?",
            f"The mean of {a}, {b} and x is {c + 10}. What is x?", f"Simplify {a}/{b * 2}.",
            f"If {d} {g} cost ${d * c}, how much do {b} {g} cost?",
            f"{x} runs {d} miles on Mondays, twice as far on Wednesdays and {c} miles on Sundays. How many miles is that in {b} weeks?",
        ])

    def reason(self):
        a, b, c = self.r.sample(FIRST, 3)
        return self.one([
            f"{a} is taller than {b}. {b} is taller than {c}. Who is the shortest?",
            f"{a} finished the race before {b} but after {c}. Who came second?",
            f"All {self.one(ANIMAL)}s in the park are brown. {a} saw a white animal in the park. Was it one of them? Explain.",
            f"If it rains, the match is cancelled. The match was not cancelled. Did it rain? Explain why.",
            f"Which of these does not belong with the others: {', '.join(self.r.sample(ANIMAL, 3))}, {self.one(THING)}?",
            f"What comes next: {', '.join(str(self.n(2, 5) * i) for i in range(1, 6))}?",
            f"Is it better to {self.one(SKILL)} in the morning or in the evening? Give reasons.",
            f"What are the arguments for and against {self.one(SOCIETY)}?",
            f"A {self.one(JOB)} says that {self.one(SOCIETY)} is bad for {self.one(CITY)}. Give a counterargument.",
        ])

    def german(self):
        """A German sentence from parts."""
        subject = self.one(["Der Bürgermeister", "Die Lehrerin", "Ein alter Mann", "Die Firma", "Das Museum", "Die Regierung",
                            "Mein Bruder", "Die Forscherin", "Der Zug", "Das Unternehmen", "Die Stadt " + self.one(CITY),
                            "Herr " + self.one(LAST), "Frau " + self.one(LAST), "Die Polizei", "Der Verein"])
        verb, rest = self.one([
            ("hat", f"im Jahr {self.n(1900, 2020)} ein neues Haus gebaut"), ("will", "in der nächsten Woche mehr Geld ausgeben"),
            ("kann", "ohne Hilfe nicht weiter arbeiten"), ("hat", f"gestern in {self.one(CITY)} über das Klima gesprochen"),
            ("muss", "bis zum Abend eine Lösung finden"), ("wurde", f"vor {self.n(3, 90)} Jahren in {self.one(COUNTRY)} bekannt"),
            ("sucht", "seit vielen Jahren nach einer besseren Antwort"), ("bietet", f"{self.n(3, 60)} Plätze für junge Menschen an"),
            ("hat", "den alten Bahnhof am Rand der Stadt gekauft"), ("plant", "für den Sommer eine große Ausstellung")])
        tail = self.one(["", " , weil die Kosten zu hoch sind", " , obwohl es viele Zweifel gibt", " , damit alle Kinder lernen können",
                         " und freut sich über den Erfolg", " , wie die Zeitung am Montag berichtete", " , ohne es jemandem zu sagen"])
        start = self.one(["", "", "", "Am Dienstag", "Nach dem Krieg", "Trotz des Regens", "Wie viele andere"])
        if start:
            subject = subject.replace("Der ", "der ").replace("Die ", "die ").replace("Das ", "das ").replace("Ein ", "ein ").replace("Mein ", "mein ")
            return f"{start} {verb} {subject} {rest}{tail} ."
        return f"{subject} {verb} {rest}{tail} ."

    def translate(self):
        german = " ".join(self.german() for _ in range(self.one([1, 1, 1, 2])))
        return self.one([f"Translate German to English: {german}"] * 4 + [
            f"Translate into English: {german}", f"What does this mean in English? \"{german}\"",
            f"Translate English to {self.one(['French', 'Spanish', 'German', 'Italian'])}: {self.sentence()}"])

    def code(self):
        task = self.one(CODE_TASKS).format(n=self.n(2, 9))
        return self.one([
            f"Write a {self.one(['Python', 'Python', 'Python', 'JavaScript', 'C++', 'Java', 'C', 'Go'])} function that {task}.",
            f"Write a Python program that {task}.", f"How do I write code that {task}?", f"Write a Python function that {task}. Include a test.",
            f"Explain how a program that {task} works, then show the code in {self.one(['Python', 'Java', 'C++'])}.",
            f"Write an SQL query that {self.one(SQL_TASKS)}.", f"What is {self.one(CS_TERMS)} in programming? Show an example.",
            f"Write a {self.one(['bash script', 'HTML page', 'regular expression', 'CSS rule'])} that {self.one(WEB_TASKS)}.",
            self.complete(), self.complete(),
        ])

    def complete(self):
        """A function to complete: signature, docstring, examples."""
        name, args, text, examples = self.one(FUNCTIONS)
        name = self.one(["", "", "my_", "get_", "fast_"]) + name
        lines = [self.one([text, text, "Given the arguments, " + text[0].lower() + text[1:]])]
        for inputs, output in self.r.sample(examples, min(len(examples), self.n(1, 3))):
            lines += [f">>> {name}({inputs})", output]
        doc = "\n    ".join(lines)
        head = self.one(["", "", "from typing import List\n\n\n", "import math\n\n\n"])
        body = f'```python\n{head}def {name}({args}):\n    """ {doc}\n    """\n```'
        return self.one(["Complete the following Python function. Reply with the whole function in one code block.\n\n",
                         "Complete this function:\n\n", "Write the body of this Python function.\n\n",
                         "Please finish this code.\n\n"]) + body

    def classify(self):
        groups = self.r.sample(["Animals", "Tools", "Food", "Countries", "Science", "History", "Jobs"], 3)
        pool = {"Animals": ANIMAL, "Tools": THING, "Food": FOOD, "Countries": COUNTRY, "Science": SCIENCE, "History": HISTORY, "Jobs": JOB}
        items = [self.one(pool[self.one(groups)]) for _ in range(self.n(3, 8))]
        lines = "\n".join(f"{i + 1}. {item}" for i, item in enumerate(items))
        return f"Sort these into the categories {', '.join(groups)}. Answer with one line for each item.\n{lines}"

    def extract(self):
        rows = [(self.name(), self.n(19, 80), self.one(JOB), self.one(CITY)) for _ in range(self.n(2, 6))]
        text = " ".join(self.one([
            f"{n} is {a} years old and works as a {j} in {c}.", f"In {c} we met {n}, a {j} aged {a}.",
            f"{n}, {a}, has been a {j} for {self.n(1, 15)} years and lives in {c}."]) for n, a, j, c in rows)
        return self.one([
            f"Extract the name, age, job and city of each person as {self.one(['JSON', 'a table', 'CSV', 'a list'])}.\n\n{text}",
            f"List all {self.one(['names', 'cities', 'jobs', 'numbers'])} in this text: {text}",
            f"{text}\n\nWho is the oldest person, and what is their job?",
            f"From the text below, write one line for each person in the form \"Name: job\".\n{text}"])

    def short(self):
        kind = self.r.choices(["explain", "fact", "advice", "write", "maths", "reason", "translate", "code", "classify", "extract"],
                              [12, 13, 10, 12, 17, 4, 10, 16, 3, 6])[0]
        return kind, getattr(self, kind)()

    def documents(self):
        """Asks for a text that later prompts are about."""
        who, place, year = self.name(), self.one(CITY), self.n(1890, 2023)
        return "document", self.one([
            f"Write a news article of 300 words about {self.one(EVENTS)} in {place}. Quote {who}, a {self.one(JOB)}, and name places, dates and numbers.",
            f"Write a newspaper report about a {self.one(JOB)} named {who} from {place} who {self.one(DEEDS)}. Include quotes and figures.",
            f"Write an encyclopedia article about {who}, a {self.one(JOB)} born in {place} in {year}. Include dates, works and family.",
            f"Write an encyclopedia article about {self.one(self.one([SCIENCE, HISTORY, SOCIETY]))}.",
            f"Write an encyclopedia article about the history of {place}, with years and names.",
            f"Write a long email from {who} about {self.one(EVENTS)}, with times, prices and names.",
            f"Write a report of a meeting about {self.one(SOCIETY)} in {place}: who spoke, what was decided, what it costs.",
            f"Write an article about a song called \"{self.one(['Blue', 'Paper', 'Silent', 'Golden', 'Last'])} {self.one(['River', 'Window', 'Summer', 'Letters', 'Train'])}\" by {who}, released in {year}.",
            f"Write the plot summary of a film about a {self.one(JOB)} in {place}, with the cast and the year.",
            f"Write a local news story: {who} and a {self.one(ANIMAL)}, at a {self.one(['school', 'market', 'farm', 'station'])} near {place}."])

    def passage(self, size):
        """Some sentences of the model's own texts, of about `size` characters."""
        text = " ".join(self.one(self.texts).split()) if self.texts else " ".join(self.sentence() for _ in range(12))
        if len(text) > size:
            end = text.rfind(". ", 0, size)
            text = text[:end + 1] if end > 100 else text[:size]
        return text

    def long(self):
        kind = self.r.choices(["summary", "question", "extraction"], [5, 4, 2])[0]
        doc = self.passage(self.n(500, 1700))
        if kind == "question" and self.r.random() < 0.35:  # several passages, as a search would find them
            doc = " . ".join(self.passage(self.n(250, 600)) for _ in range(3))
        ask = {
            "summary": lambda: self.one(["Summarize: {}"] * 5 + ["Summarize this text in three sentences.\n\n{}",
                "{}\n\nWrite a short summary of the text above.", "Give the main points of this article:\n{}", "TL;DR of this: {}",
                "What is this text about?\n\n{}", "Write a headline and a one-sentence summary for this article: {}"]),
            "question": lambda: "{}\n" + self.one(["Who is mentioned in this text?", "When did this happen?", "Where does this take place?",
                "Why is it important?", "What happened first?", "Who said what?", "What is the main person's job?", "How did it begin?",
                "What numbers are given?", "What are the consequences?", "What was decided?", "who is the text about?",
                "when was it first described?", "where did the events happen?", "what does the writer think of it?", "how many people took part?"]),
            "extraction": lambda: self.one(["List all names in this text, one a line.\n\n{}", "Extract all dates and numbers with what they mean:\n{}",
                "Make a JSON object with the keys title, people, places and dates from this text:\n\n{}", "{}\n\nList the key facts as bullet points.",
                "Extract the key terms of this text and explain each one in a sentence: {}"]),
        }[kind]()
        return kind, ask.replace("{}", doc)

    def python(self):
        """For a coder: functions to complete, and to write from a description."""
        if self.r.random() < 0.6:
            return "complete", self.complete()
        task = self.one(CODE_TASKS).format(n=self.n(2, 9))
        return "write", self.one([
            f"Write a Python function that {task}.", f"Write a Python function that {task}. Reply with one code block.",
            f"Write a Python class that {task}.", f"Write a Python function `{self.one(FUNCTIONS)[0]}` that {task}, with type hints and a docstring.",
            f"Write a Python script that {task} and prints the result.", f"Write unit tests for a function that {task}.",
            f"Explain briefly, then write Python code that {task}.", f"Fix and simplify: I want a function that {task}, but mine is too slow. Show a fast one."])


EVENTS = """a flood|a school fire drill that went wrong|the opening of a new bridge|a bus strike|a chess tournament|a lost dog that came home|
a storm|a new tram line|a bank robbery|a record harvest|a football final|an art theft|a power cut|a wedding in a train|a hospital's new wing|
a factory that closes|a marathon|a missing painting that was found|an election for mayor|a bakery's hundredth birthday|a rescue at sea|
a court case about noise|a rare bird|a forest fire|a charity concert|a dispute about a fence""".replace("\n", "").split("|")
DEEDS = """saved a family from a fire|walked across the country|found an old letter|won the lottery and gave it away|built a boat in the garden|
was accused of fraud|taught 500 children to swim|invented a new kind of bread|lost everything in a storm|ran for mayor at the age of 80|
returned a wallet after 20 years|broke a world record|planted ten thousand trees""".replace("\n", "").split("|")
CODE_TASKS = """reverses a string|checks whether a number is prime|returns the n-th Fibonacci number|sorts a list of tuples by the second item|
counts how often each word occurs in a text|removes duplicates from a list and keeps the order|finds the longest word in a sentence|
merges two sorted lists|checks whether two words are anagrams|computes the factorial of a number|flattens a nested list|
finds the {n} largest numbers of a list|converts Celsius to Fahrenheit|reads a CSV file and sums up one column|rotates a list by {n} places|
checks whether brackets are balanced|computes the greatest common divisor of two numbers|transposes a matrix|multiplies two matrices|
does a binary search in a sorted list|implements a stack with push and pop|implements a queue with two stacks|implements bubble sort|
implements quicksort|implements merge sort|converts a number to binary|converts Roman numerals to integers|checks for a palindrome|
computes the mean, median and mode of a list|groups words by their first letter|finds all pairs of numbers with the sum {n}|
counts the vowels of a string|capitalizes every word|validates an email address|generates a random password of {n} characters|
downloads a web page and counts its links|finds the shortest path in a grid|implements a linked list|implements a binary search tree|
computes the edit distance of two strings|prints a multiplication table|finds missing numbers in a sequence|splits a list into chunks of {n}|
computes compound interest|parses a date in the form YYYY-MM-DD|encodes a text with the Caesar cipher|computes powers without the operator **|
caches the results of a slow function|counts the islands in a grid of zeros and ones|finds the longest common prefix of words|
checks whether a year is a leap year|converts a list of dictionaries to JSON|simulates {n} dice and prints a histogram|
renames all files in a folder|computes the dot product of two vectors|finds the first character that is not repeated|
returns the running maximum of a list|interleaves two lists|solves a quadratic equation|computes the digit sum of a number|
finds the mode of a list of numbers|counts words, lines and characters of a file|checks whether a list is sorted|
removes all punctuation from a text|finds the second smallest number|computes a moving average over {n} values|draws a triangle of stars""".replace("\n", "").split("|")
SQL_TASKS = """lists all customers from one city|counts the orders of each customer|finds the three most expensive products|
joins orders and customers and sums up the amounts by month|deletes all rows older than a year|finds customers without orders|
updates the price of all products by five percent|lists the second highest salary of each department""".replace("\n", "").split("|")
CS_TERMS = """recursion|a closure|a hash table|inheritance|a pointer|a race condition|polymorphism|a decorator|an iterator|a binary tree|
an exception|a lambda function|garbage collection|a mutex|dynamic programming|an API|a unit test|big O notation""".replace("\n", "").split("|")
WEB_TASKS = """shows a table of names and prices|finds all files larger than 10 MB|matches a phone number|centers a box on the page|
backs up a folder|has a form with a name and an email|finds every line with an error in a log|counts files by their ending|
makes a button blue when the mouse is over it|matches dates like 2021-03-04""".replace("\n", "").split("|")
# name, arguments, what it does, examples
FUNCTIONS = [
    ("double_all", "numbers", "Return a list with every number doubled.", [("[1, 2, 3]", "[2, 4, 6]"), ("[]", "[]"), ("[-5]", "[-10]")]),
    ("count_above", "numbers, limit", "Count how many numbers are larger than limit.", [("[1, 5, 9], 4", "2"), ("[], 1", "0")]),
    ("first_repeat", "text", "Return the first character that occurs twice in text, or None.", [("'abca'", "'a'"), ("'abc'", "None")]),
    ("longest_run", "values", "Return the length of the longest run of equal values.", [("[1, 1, 2, 2, 2]", "3"), ("[]", "0"), ("[7]", "1")]),
    ("swap_case_words", "sentence", "Swap the case of every second word of the sentence.", [("'one two three'", "'one TWO three'")]),
    ("sum_of_squares", "n", "Return the sum of the squares of the numbers 1 to n.", [("3", "14"), ("1", "1"), ("0", "0")]),
    ("without_vowels", "text", "Return the text without its vowels.", [("'hello'", "'hll'"), ("'aeiou'", "''")]),
    ("is_ascending", "numbers", "Return True if every number is larger than the one before it.", [("[1, 2, 5]", "True"), ("[2, 2]", "False")]),
    ("digits_product", "n", "Return the product of the digits of n.", [("234", "24"), ("105", "0")]),
    ("zip_sum", "a, b", "Add two lists item by item; the shorter one counts as zeros.", [("[1, 2], [3]", "[4, 2]"), ("[], []", "[]")]),
    ("most_common_word", "text", "Return the word that occurs most often; of equal ones, the first.", [("'a b a'", "'a'"), ("'x y'", "'x'")]),
    ("chunk", "items, size", "Split a list into lists of the given size; the last may be shorter.", [("[1, 2, 3], 2", "[[1, 2], [3]]")]),
    ("is_pangram", "text", "Return True if the text holds every letter from a to z.", [("'abc'", "False")]),
    ("collatz_steps", "n", "Count the steps until n becomes 1: halve it if it is even, else triple it and add one.", [("1", "0"), ("6", "8")]),
    ("diff_max_min", "numbers", "Return the difference of the largest and the smallest number.", [("[3, 9, 4]", "6"), ("[1]", "0")]),
    ("hex_to_int", "text", "Convert a string of hexadecimal digits to an integer.", [("'ff'", "255"), ("'10'", "16")]),
    ("remove_every_nth", "items, n", "Remove every n-th item of the list.", [("[1, 2, 3, 4], 2", "[1, 3]")]),
    ("prime_factors", "n", "Return the prime factors of n in ascending order.", [("12", "[2, 2, 3]"), ("7", "[7]"), ("1", "[]")]),
    ("second_largest", "numbers", "Return the second largest distinct number, or None if there is none.", [("[4, 9, 9]", "4"), ("[1]", "None")]),
    ("run_lengths", "text", "Return a list of pairs of each character and the length of its run.", [("'aab'", "[('a', 2), ('b', 1)]"), ("''", "[]")]),
    ("matrix_trace", "matrix", "Return the sum of the diagonal of a square matrix.", [("[[1, 2], [3, 4]]", "5")]),
    ("balanced", "text", "Return True if every bracket ( [ { is closed in the right order.", [("'([])'", "True"), ("'(]'", "False")]),
    ("common_items", "a, b", "Return the sorted items that both lists hold, each once.", [("[1, 2, 2], [2, 3]", "[2]"), ("[1], [2]", "[]")]),
    ("title_initials", "name", "Return the initials of a name in capital letters.", [("'ada lovelace'", "'AL'"), ("'x'", "'X'")]),
    ("moving_sum", "numbers, width", "Return the sums of all windows of the given width.", [("[1, 2, 3], 2", "[3, 5]"), ("[1], 2", "[]")]),
    ("parse_pairs", "text", "Parse 'a=1;b=2' into a dictionary of integers.", [("'a=1;b=2'", "{'a': 1, 'b': 2}"), ("''", "{}")]),
    ("power_of_two", "n", "Return True if n is a power of two.", [("8", "True"), ("6", "False"), ("1", "True")]),
    ("nested_depth", "items", "Return how deep a list of lists is nested.", [("[1, [2, [3]]]", "3"), ("[]", "1")]),
    ("rotate_left", "items, k", "Rotate the list to the left by k places.", [("[1, 2, 3], 1", "[2, 3, 1]"), ("[], 4", "[]")]),
    ("count_words_longer", "text, n", "Count the words with more than n letters.", [("'the quick fox', 3", "1")]),
    ("pairs_with_sum", "numbers, total", "Return all pairs of numbers with the given sum, each pair once.", [("[1, 2, 3, 4], 5", "[(1, 4), (2, 3)]")]),
    ("invert_dict", "mapping", "Swap keys and values; values that occur twice collect their keys in a list.", [("{'a': 1, 'b': 2}", "{1: ['a'], 2: ['b']}")]),
    ("median_of", "numbers", "Return the median of the numbers.", [("[3, 1, 2]", "2"), ("[1, 2, 3, 4]", "2.5")]),
    ("caesar", "text, shift", "Shift every small letter by the given number of places, with wrap-around.", [("'abc', 1", "'bcd'"), ("'xyz', 3", "'abc'")]),
    ("to_minutes", "clock", "Convert a time like '2:30' to minutes.", [("'2:30'", "150"), ("'0:05'", "5")]),
    ("every_other_upper", "text", "Return the text with every other letter in upper case.", [("'abcd'", "'AbCd'"), ("''", "''")]),
    ("is_leap_year", "year: int", "Return True if the year is a leap year.", [("2000", "True"), ("1900", "False"), ("2024", "True")]),
    ("gcd_of_list", "numbers", "Return the greatest common divisor of all numbers.", [("[12, 18]", "6"), ("[7]", "7")]),
    ("merge_sorted", "a, b", "Merge two sorted lists into one sorted list.", [("[1, 3], [2]", "[1, 2, 3]"), ("[], []", "[]")]),
    ("binary_ones", "n", "Count the ones in the binary form of n.", [("5", "2"), ("0", "0")]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["short", "documents", "long", "python"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--texts", nargs="*", default=[], help="JSONL files whose \"answer\"s are the documents of `long`")
    options = parser.parse_args()
    texts = [json.loads(line).get("answer", "") for path in options.texts for line in open(path, encoding="utf-8")]
    texts = [text for text in texts if len(text) > 400]
    if options.what == "long" and not texts:
        parser.error("long needs --texts with answers of more than 400 characters")
    maker = Maker(options.seed, texts)
    seen = set()
    for _ in range(20 * options.count):  # templates without free parts repeat
        if len(seen) == options.count:
            break
        kind, prompt = getattr(maker, options.what)()
        if prompt not in seen:
            seen.add(prompt)
            sys.stdout.write(json.dumps({"kind": kind, "prompt": prompt}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
