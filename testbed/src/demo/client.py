"""A client of the demonstration: says its session's ID, runs a long query, and says how that ended."""

import sys

import pymysql

SESSION_INTERRUPTED = 5066

connection = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root", database="test")
with connection.cursor() as cursor:
    cursor.execute("set ob_query_timeout = 3600000000")
    cursor.execute("select connection_id()")
    print(cursor.fetchone()[0], flush=True)
    statement = "select sleep(600)"
    while True:
        try:
            cursor.execute(statement)
            print(f"no error: {statement} ran to its end", flush=True)
            break
        except pymysql.Error as error:
            # The engine may say of a statement that its session was interrupted before the connection is lost.
            if error.args[0] != SESSION_INTERRUPTED:
                print("error {}: {}".format(*error.args), flush=True)
                break
            statement = "select 1"
