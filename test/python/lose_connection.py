"""Run a client that loses its server in the middle of its work.

    lose_connection.py PATTERN COUNT PROGRAM [ARGUMENT...]

When the program has executed its COUNT-th statement that holds PATTERN, its
server process is made to quit, and is waited for.  The client is not told: what
it does next meets a connection that looks open, with a warning in it that nobody
has read.  This is how a server that is shut down at once leaves its clients.
"""
import os
import runpy
import signal
import sys
import time

import psycopg2

pattern, count, program = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connect = psycopg2.connect


def is_running(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def wait_until_idle(pid):
    """A process that is still busy with its answer would leave no warning."""
    monitor = connect("")
    monitor.autocommit = True
    with monitor.cursor() as cursor:
        is_idle = False
        while not is_idle:
            cursor.execute("SELECT FROM pg_stat_activity"
                           " WHERE pid = %s AND wait_event = 'ClientRead'", (pid,))
            is_idle = cursor.rowcount == 1
    monitor.close()


def lose(connection):
    pid = connection.info.backend_pid
    wait_until_idle(pid)
    os.kill(pid, signal.SIGQUIT)
    while is_running(pid):
        time.sleep(0.01)
    print("the server has gone", file=sys.stderr)


def note_execution(connection, query):
    global count
    if pattern in query:
        count -= 1
        if count == 0:
            lose(connection)


def noting(base):
    class Cursor(base):
        def execute(self, query, vars=None):
            super().execute(query, vars)
            note_execution(self.connection, query)

    return Cursor


def connect_noting(*args, **options):
    connection = connect(*args, **options)
    connection.cursor_factory = noting(connection.cursor_factory or psycopg2.extensions.cursor)
    return connection


psycopg2.connect = connect_noting
sys.argv = sys.argv[3:]
runpy.run_path(program, run_name="__main__")
