"""Texts on which an exported file is compared with its original where the user gives none.

The sentences were written for this, so that no model has learned them. They speak of many things, in questions,
orders and reports, since a rounding that hurts may hurt one kind alone.
"""

from itertools import islice

LENGTHS = (1, 2, 4, 8)
"""Of how many sentences a text is made."""
SENTENCES = """\
The council put off the vote on the new tram line until the money for it is found.
How do I move forty pounds from my savings to the account I pay the rent from?
Two goals in the last five minutes took the visitors to the top of the table.
A glass of water spilt over the keyboard, and since then the letter e comes twice.
Stir the onions until they are brown, then add the stock a ladle at a time.
My flight was cancelled and nobody at the desk could tell me when the next one goes.
The choir sang so softly that one heard the rain on the roof of the church.
Wake me at a quarter to six tomorrow, and not a minute earlier.
Prices of wheat fell for the third week after a good harvest in the south.
The doctor said the cough would pass by itself, but it has been a month.
She read the letter twice, folded it and put it back into the drawer.
Snow is expected above eight hundred metres from Thursday night.
Which of the two phones has the better camera in the dark?
The minister denied that he had known of the contract before it was signed.
Our daughter starts school in September and can already write her name.
The engine makes a grinding sound whenever I turn the wheel to the left.
Researchers counted fewer swallows this spring than in any year since 1974.
I want my money back: the jacket came torn and a size too small.
The museum shows the painter's late works, most of them for the first time.
Tell me a joke about a horse.
Police found the stolen bicycles in a garage behind the station.
The bank will close its branches in nine small towns by the end of the year.
Add two litres of milk and a dozen eggs to my list.
After the injury he swam every morning, and in May he ran again.
The film is an hour too long, and yet I would not want to miss the ending.
Is there a chemist near here that is open on Sundays?
The new rules let tenants keep a cat, though not two.
A pipe burst in the night and the whole cellar stood under water.
Scientists sent a probe to look for ice in the craters near the pole.
He gave up his job in the city and now makes cheese in the mountains.
The game was stopped for half an hour because of the lightning.
Please cancel the table for four at eight; we are going to be seven at nine.
Shares of the chip maker rose by a tenth after it spoke of new orders.
My grandmother never told anyone the recipe, so we try it anew each Christmas.
The old bridge is to be closed to lorries from the first of March.
How many calories are in a slice of apple pie?
The witness could not say whether the car had been blue or green.
I have tried the password three times and now it says that I am locked out.
The orchestra is looking for a second bassoon and a new roof.
Nobody answered the telephone, so she walked the two miles to the farm.
Voters in the north were far more often against the plan than those in the south.
Set the heating to nineteen degrees when everybody has left the house.
The cyclist led for a hundred kilometres and was caught on the last hill.
A virus in the mail took the hospital back to paper for a week.
What does the word mean that is written over the gate?
We waited for the ferry until dark, and then slept on the beach.
The tax on sugar brought in more than had been planned, and less was drunk.
The lecture on bees was so full that people sat on the stairs.
I was charged twice for the same ticket on the nineteenth.
The storm took the roof of the gymnasium and left the greenhouse as it was.
Her first novel sold three hundred copies; her fifth is in every shop window.
Turn off the light in the kitchen and lock the back door.
The farmer's union asks for help after a third dry summer.
It is the best bread in town, but go early or there is none left.
The judge gave them a week to agree, and they took an hour.
Why does the battery of my laptop last only as long as a lesson?
Fishermen saw a whale in the bay where none had been seen for fifty years.
The coach would not speak of next season before this one is over.
Send my sister a message that the train is twenty minutes late.
The vaccine is to be given at schools first, and then by doctors.
An engineer found the crack by its sound, with a hammer and a good ear.
The company moves its office, and half of those who work there will not go.
I need a visa for the trip, and the form asks for a stamp that I do not know.
The garden is open on the first Sunday of each month, dogs on a lead.
The two ministers shook hands for the cameras and said nothing.
How do you say good morning to somebody who has been up all night?
The price of a ticket goes up in January for the fourth time in a row.
Children under six travel free, and so does whoever carries them.
The telescope saw a star swallow a planet, and it took ten days.
My card was refused at the shop though there is enough in the account.
She won the race by the length of a hand and could not believe it.
The mayor opened the library with a pair of scissors that did not cut.
Heat the oven to two hundred degrees and butter the tin.
The hotel was clean and quiet, and the breakfast was a scandal.
Remind me to water the plants on the balcony every other evening.
""".splitlines()


def default_texts() -> list[str]:
    """Texts of one, two, four and eight sentences, as many of each as there are sentences.

    >>> texts = default_texts()
    >>> len(texts), texts[0] == SENTENCES[0], len(texts[-1].split())
    (300, True, 128)
    """
    twice = [*SENTENCES, *SENTENCES]
    return [" ".join(islice(twice, start, start + length)) for length in LENGTHS for start in range(len(SENTENCES))]
