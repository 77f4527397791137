"""What somebody would write to end sessions by SQL: reads the list, and kills what is there. Nothing is safe here."""

import socket
import sys

import pymysql

address, user, password, listen = sys.argv[1:]
host, port = address.split(":")
connection = pymysql.connect(host=host, port=int(port), user=user, password=password, autocommit=True)
cursor = connection.cursor()
server = socket.create_server(("127.0.0.1", int(listen)))
while True:
    jobs, _ = server.accept()
    for line in jobs.makefile():
        cursor.execute("SHOW PROCESSLIST")
        if int(line) in {row[0] for row in cursor.fetchall()}:
            cursor.execute(f"KILL {int(line)}")
