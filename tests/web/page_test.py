"""The page in headless Chromium: sends, streams, stops, reloads, shows drafts, survives hostile model text.

Needs Debian's chromium and chromium-driver, and selenium (tests/web/requirements.txt). Run by `scripts/check web`.
`--url URL` takes a server that runs already, and asks it one short question only; `--pictures FOLDER` keeps
screenshots.
"""
import argparse
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import fake_server  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

arguments = None


def start_browser(width=1200, height=900, language="en"):
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},{height}",
                 f"--lang={language}", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server, cls.url = fake_server.start()
        cls.browser = start_browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()
        cls.server.shutdown()

    def setUp(self):
        self.server.left.clear()
        self.browser.get(self.url)
        self.browser.execute_script("localStorage.clear()")
        self.browser.get(self.url)
        self.until(lambda: self.find("#model option"))

    # ---- Helpers ----

    def find(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        found = self.find(selector)
        self.assertTrue(found, f"nothing on the page is {selector}")
        return found[0]

    def until(self, condition, seconds=30):
        return WebDriverWait(self.browser, seconds, poll_frequency=0.05).until(lambda _: condition())

    def ask(self, text, wait=True):
        self.one("#question").send_keys(text + Keys.ENTER)
        if wait:
            self.until(lambda: self.one("#send").is_displayed() and self.find("article.assistant, #notice:not([hidden])"))

    def picture(self, name):
        if arguments.pictures:
            Path(arguments.pictures).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(f"{arguments.pictures}/{name}.png")

    def script(self, text):
        return self.browser.execute_script(text)

    def show_formatted(self):
        self.one("article.assistant .buttons button").click()

    # ---- Tests ----

    def test_an_answer_is_streamed_and_formatted(self):
        self.ask("a question")
        self.picture("tokens")
        self.show_formatted()
        answer = self.one("article.assistant .body")
        self.assertEqual([h.text for h in answer.find_elements(By.TAG_NAME, "h3")], ["Title"])
        self.assertEqual(answer.find_element(By.TAG_NAME, "strong").text, "bold")
        self.assertEqual(len(answer.find_elements(By.CSS_SELECTOR, "ol > li")), 2)
        self.assertEqual(answer.find_element(By.CSS_SELECTOR, "ol ul li").text, "inner")
        self.assertEqual(answer.find_element(By.CSS_SELECTOR, "pre code").text, "print('hello')")
        self.assertEqual(answer.find_element(By.TAG_NAME, "blockquote").text, "quoted")
        self.picture("formatted")

    def test_tokens_show_who_made_them(self):
        self.ask("a question")
        tokens = self.find("article.assistant .tokens .token")
        self.assertEqual("".join(self.script("return [...document.querySelectorAll('.tokens .token')].map(t => t.textContent)")),
                         fake_server.GOOD)
        self.assertTrue(self.find(".token.by-s3d") and self.find(".token.by-suffix") and self.find(".token.by-target"))
        self.assertIn("made by s3d", tokens[0].get_attribute("title"))
        self.assertIn("75 %", tokens[0].get_attribute("title"))
        n_rounds = -(-len(tokens) // 3)
        self.assertEqual(len(self.find(".strip .bar")), n_rounds)
        figures = self.one(".figures").text
        for part in ("120.5 tokens/s", "2.00 times plain decoding", "2.50 tokens a pass", "60 %", "12 tokens of the prompt"):
            self.assertIn(part, figures)

    def test_stop_ends_the_request(self):
        self.ask("be slow", wait=False)
        self.until(lambda: len(self.find(".token")) > 3)
        self.one("#stop").click()
        self.assertTrue(self.server.left.wait(20), "the server was not told")
        self.until(lambda: self.one("#send").is_displayed())
        self.assertIn("Stopped", self.one("article.assistant .reason").text)

    def test_escape_stops_too(self):
        self.ask("be slow", wait=False)
        self.until(lambda: len(self.find(".token")) > 3)
        self.one("#question").send_keys(Keys.ESCAPE)
        self.assertTrue(self.server.left.wait(20), "the server was not told")

    def test_conversations_survive_a_reload(self):
        self.ask("first question")
        self.browser.get(self.url)
        self.until(lambda: self.find("article.assistant"))
        self.assertEqual(self.one("article.user .body").text, "first question")
        self.assertEqual([b.text for b in self.find("#conversations .open")], ["first question"])

    def test_conversations_are_renamed_and_deleted(self):
        self.ask("first question")
        self.one("#new").click()
        self.ask("second question")
        self.assertEqual(len(self.find("#conversations li")), 2)
        self.find("#conversations li")[0].find_elements(By.TAG_NAME, "button")[1].click()
        box = self.browser.switch_to.alert
        box.send_keys("renamed")
        box.accept()
        self.assertEqual(self.one("#conversations .open").text, "renamed")
        self.find("#conversations li")[0].find_elements(By.TAG_NAME, "button")[3].click()
        self.browser.switch_to.alert.accept()
        self.assertEqual([b.text for b in self.find("#conversations .open")], ["first question"])

    def test_a_question_is_edited_and_an_answer_made_again(self):
        self.ask("first question")
        self.find("article.user .buttons button")[0].click()
        area = self.one("article.user textarea")
        area.clear()
        area.send_keys("another question")
        self.one("article.user .row button").click()
        self.until(lambda: self.one("#send").is_displayed() and self.find("article.assistant .figures"))
        self.assertEqual(self.server.bodies[-1]["messages"], [{"role": "user", "content": "another question"}])
        n = len(self.server.bodies)
        self.find("article.assistant .buttons button")[1].click()
        self.until(lambda: len(self.server.bodies) == n + 1 and self.one("#send").is_displayed())
        self.assertEqual(len(self.find("article")), 2)

    def test_hostile_text_stays_text(self):
        self.ask("be hostile")
        for _ in range(2):
            self.assertIsNone(self.script("return window.broken ?? null"))
            self.assertEqual(self.find("article.assistant script, article.assistant img, article.assistant b"), [])
            self.show_formatted()
        self.show_formatted()
        hrefs = [a.get_attribute("href") for a in self.find("article.assistant a")]
        self.assertEqual(hrefs, ["https://example.org/a"])
        self.assertIn("<script>window.broken = 1</script>", self.one("article.assistant .body").text)

    def test_errors_are_shown_and_leave_nothing_half(self):
        self.ask("an error")
        self.assertIn("the fake server refuses", self.one("#notice").text)
        self.assertEqual(self.find("article.assistant"), [])
        self.ask("be late")
        self.assertIn("the fake server broke", self.one("article.assistant .reason").text)

    def test_thoughts_are_folded(self):
        self.ask("do some thinking")
        self.assertFalse(self.one(".thoughts").get_attribute("open"))
        self.assertIn("Let me think.", self.one(".thoughts div").get_attribute("textContent"))

    def test_settings_reach_the_request(self):
        self.one("#open-settings").click()
        fields = self.find("#fields input, #fields textarea, #fields select")
        fields[1].send_keys("Be brief.")
        fields[2].send_keys("0.5")
        self.picture("settings")
        self.one("#settings .row button").click()
        self.ask("a question")
        body = self.server.bodies[-1]
        self.assertEqual(body["temperature"], 0.5)
        self.assertEqual(body["messages"][0], {"role": "system", "content": "Be brief."})
        self.assertNotIn("top_k", body)
        self.assertTrue(body["stream"])

    def test_the_server_tab_shows_figures(self):
        self.one("#tab-server").click()
        self.until(lambda: self.find("dl.figures dd"))
        text = self.one("#server").text
        for part in ("Running", "42", "25 %", "busy", "2048"):
            self.assertIn(part, text)
        self.picture("server")

    def test_it_speaks_german_and_is_dark(self):
        self.script("localStorage.setItem('s3d.settings', JSON.stringify({language: 'de', theme: 'dark'}))")
        self.browser.get(self.url)
        self.until(lambda: self.find("#model option"))
        self.ask("eine Frage")
        self.assertEqual(self.one("#send").text, "Senden")
        self.assertIn("120,5 Tokens/s", self.one(".figures").text)
        self.picture("german-dark")

    def test_a_telephone_shows_it_all(self):
        self.browser.set_window_size(500, 800)  # as narrow as a window gets; the width itself is set below
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                     {"width": 360, "height": 720, "deviceScaleFactor": 2, "mobile": True})
        try:
            self.ask("a question")
            self.assertLessEqual(self.script("return document.documentElement.scrollWidth"), 360)
            self.picture("telephone")
            self.one("#menu").click()
            self.assertTrue(self.one("#conversations").is_displayed())
            self.picture("telephone-menu")
        finally:
            self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            self.browser.set_window_size(1200, 900)

    def test_both_languages_say_the_same_things(self):
        same = self.browser.execute_async_script(
            "const done = arguments[0]; import('/strings.js').then(({allStrings: s}) => {"
            "  const keys = (o) => Object.keys(o).sort().join(); done(keys(s.en) === keys(s.de)); });")
        self.assertTrue(same)

    def test_nothing_is_asked_of_others_and_nothing_fails(self):
        self.ask("a question")
        foreign = self.script("return performance.getEntriesByType('resource').map(e => e.name)"
                              f".filter(name => !name.startsWith('{self.url}') && !name.startsWith('data:'))")
        self.assertEqual(foreign, [])
        errors = [e["message"] for e in self.browser.get_log("browser") if e["level"] == "SEVERE" and "400" not in e["message"]]
        self.assertEqual(errors, [])


class SizeTest(unittest.TestCase):
    def test_the_page_is_small(self):
        total = sum(path.stat().st_size for path in fake_server.WEB.iterdir())
        self.assertLess(total, 80_000)


class RealServerTest(unittest.TestCase):
    """One short question to a server that runs: what it streams is what the page expects."""

    def test_an_answer(self):
        if not arguments.url:
            self.skipTest("no --url")
        browser = start_browser()
        try:
            browser.get(arguments.url)
            wait = WebDriverWait(browser, 60)
            wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#model option"))
            browser.find_element(By.ID, "question").send_keys("Count from one to twenty." + Keys.ENTER)
            wait.until(lambda b: b.find_element(By.CSS_SELECTOR, "article.assistant .figures").text)
            tokens = browser.find_elements(By.CSS_SELECTOR, ".token")
            self.assertGreater(len(tokens), 5)
            if arguments.pictures:
                browser.save_screenshot(f"{arguments.pictures}/real.png")
        finally:
            browser.quit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="")
    parser.add_argument("--pictures", default="")
    arguments, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
