"""What must be stored in the end, as far as the appenders know."""

import threading

COMMITTED = "committed"
ROLLED_BACK = "rolled back"
IN_DOUBT = "in doubt"           # the connection was lost on the way


class Ledger:
    """The appends that were sent, by transaction."""

    def __init__(self):
        self.lock = threading.Lock()
        self.transactions = []

    def settle(self, appends, outcome, port):
        """Note how the server at this port has answered to a transaction."""
        with self.lock:
            self.transactions.append((appends, outcome, port))

    def find_errors(self, stored, is_certain):
        """Compare with what is stored, which is given as rows by the tags of their appends.

        A server that was torn down may have said that something was committed
        which its successor never got: is_certain(port) tells.
        """
        errors = []
        sent = set()
        for appends, outcome, port in self.transactions:
            if outcome == COMMITTED and not is_certain(port):
                outcome = IN_DOUBT
            sent.update(append.tag for append in appends)
            errors += find_errors_of(appends, outcome, stored)
        return errors + [f"{tag} is stored, and nobody has sent it"
                         for tag in stored if tag not in sent]


def find_errors_of(appends, outcome, stored):
    present = [append for append in appends if append.tag in stored]
    if outcome == IN_DOUBT:
        outcome = COMMITTED if present else ROLLED_BACK

    if outcome == ROLLED_BACK:
        return [f"{append.tag} was rolled back and is stored" for append in present]
    errors = [f"{append.tag} was committed and is not stored"
              for append in appends if append.tag not in stored]
    return errors + [f"{append.tag} is not stored as it was sent"
                     for append in present if not append.matches(stored[append.tag])]
