"""A client of the demonstration: says its session's ID, runs a long query, and says how that ended."""

import sys

import pymysql

connection = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root", database="test")
with connection.cursor() as cursor:
    cursor.execute("set ob_query_timeout = 3600000000")
    cursor.execute("select connection_id()")
    print(cursor.fetchone()[0], flush=True)
    try:
        cursor.execute("select sleep(600)")
        print("no error: the query ran to its end", flush=True)
    except pymysql.Error as error:
        print("error {}: {}".format(*error.args), flush=True)
