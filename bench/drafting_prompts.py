"""Questions for measuring drafts: ten whose answers repeat their text, and ten whose answers are free."""

from __future__ import annotations

CODES = (
    """def area(width, height):
    \"\"\"The area of a rectangle.\"\"\"
    if width < 0 or height < 0:
        raise ValueError("negative length")
    return width * height


def perimeter(width, height):
    \"\"\"The perimeter of a rectangle.\"\"\"
    if width < 0 or height < 0:
        raise ValueError("negative length")
    return 2 * (width + height)""",
    """class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()

    def peek(self):
        return self.items[-1]

    def __len__(self):
        return len(self.items)""",
    """function total(orders) {
  let sum = 0;
  for (const order of orders) {
    if (order.cancelled) {
      continue;
    }
    sum += order.price * order.quantity;
  }
  return sum;
}

console.log(total([{ price: 3, quantity: 2, cancelled: false }]));""",
    """import csv

def read_rows(path):
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        rows = []
        for row in reader:
            row["price"] = float(row["price"])
            rows.append(row)
    return rows

def average_price(rows):
    prices = [row["price"] for row in rows]
    return sum(prices) / len(prices)""",
    """server:
  host: 127.0.0.1
  port: 8080
  workers: 4
  timeout_seconds: 30
logging:
  level: info
  file: /var/log/server.log
database:
  url: postgres://localhost/shop
  pool_size: 10
  retries: 3""",
)

CHANGES = (
    "rename area to rectangle_area",
    "rename items to entries",
    "rename total to order_total",
    "rename rows to records",
    "set the port to 9090",
)

PASSAGES = (
    "The lighthouse on the northern cape was built in 1862 by two brothers who had never seen the sea"
    " before. They carried the stones up the cliff by hand, four hundred and twelve of them, and"
    " finished the tower in three years. Its lamp burned whale oil until 1911, when the first electric"
    " light in the county was installed there.",
    "Sourdough bread needs only flour, water and salt. The wild yeast that makes it rise lives on the"
    " grain itself. A baker keeps a small amount of dough from each batch, feeds it with fresh flour and"
    " water, and uses it to start the next one. Some bakeries say that their dough is more than a"
    " hundred years old.",
    "Honey bees tell each other where flowers are by dancing. A bee that has found food runs in a"
    " figure of eight on the comb. The angle of her run shows the direction of the flowers from the sun,"
    " and the length of the run shows how far away they are. Other bees follow her with their antennae"
    " and then fly out to find the place.",
    "The first railway in the valley opened on the third of May in 1847. It was eleven miles long and"
    " had four stations. The train took forty minutes from one end to the other, because it had to stop"
    " for water twice. Farmers used it to bring milk to the city every morning, and children rode to"
    " school on it.",
    "Glaciers move slowly downhill under their own weight. The ice at the bottom melts a little because"
    " of the great pressure, and this water lets the glacier slide over the rock. In summer some"
    " glaciers move more than a metre each day. They carry stones and sand with them, and leave these"
    " behind in long ridges when the ice melts.",
)

EDITING = tuple(
    f"Rewrite this code with one change: {change}. Give the whole code and nothing else.\n\n```\n{code}\n```"
    for code, change in zip(CODES, CHANGES, strict=True)
) + tuple(
    f"Quote this text word for word, then summarise it in one sentence.\n\n{passage}" for passage in PASSAGES
)

FREE = (
    "Write a short story about a dog who learns to sail.",
    "Why is the sky blue?",
    "How do I make a good cup of tea?",
    "Describe a city that floats in the clouds.",
    "What should I think about before I buy a bicycle?",
    "Tell me about the history of bread.",
    "Write a letter to a friend who has moved to another country.",
    "What are some good ways to learn a new language?",
    "Explain how a rainbow comes about to a child.",
    "Invent a new holiday and describe how people celebrate it.",
)
