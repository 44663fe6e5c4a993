"""Responsibility for undelivered mail: what is owed to whom, when to try again, when to give up.

A recipient in the queue is in one of four states; the store keeps it, this package moves it:

    state     leaves by                       becomes
    waiting   its next attempt falls due      taken
              an operator holds it            held
              an operator drops it            gone
    taken     an attempt, outcome final       gone, with the reports that are owed, in one change
              an attempt, outcome DEFERRED    waiting, or gone with a report where it has expired
              given back, or a crash          waiting
    held      an operator lets it go          waiting

So a message whose delivery is uncertain after a crash is tried again: twice rather than never.

See also: schedule.py (when), conclude.py (what an attempt leads to), reports.py (what the sender is told), runner.py.
"""
