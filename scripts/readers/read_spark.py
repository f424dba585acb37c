"""read_spark.py < requests > answers

Spark with the Iceberg runtime, for many requests in one process, as it takes ten seconds to start. Each line of standard input
is JSON: {"metadata": <metadata.json URI>, "sql": "... {table} ..."} for one table, or {"catalog": <path of a catalog.db>,
"sql": "... frazil.namespace.table ..."} for a catalog (the same in all requests); with neither, the SQL names tables of "lab", a folder of Hadoop-style tables given
by the environment variable WAREHOUSE. {"catalog": ..., "expire": "namespace.table"} has Iceberg's Java library expire all snapshots
of a table but the current one by itself, without Spark: with one branch it cleans up incrementally. The answer to each is one line: {"rows": [...]} or {"error": "..."}. Run with the python of
scripts/spark-env.sh.
"""
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
from json_rows import encode
from pyspark.sql import SparkSession

jars = pathlib.Path(sys.executable).parent.parent / "jars"
settings = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.session.timeZone": "UTC",
    "spark.jars": ",".join(str(jar) for jar in jars.glob("*.jar")),
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.lab": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.lab.type": "hadoop",
    "spark.sql.catalog.lab.warehouse": os.environ.get("WAREHOUSE", "file:///tmp/frazil-spark"),
    "spark.sql.catalog.lab.cache-enabled": "false",
}
builder = SparkSession.builder.master("local[1]").appName("frazil")
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")


def open_catalog(name, path):
    """Opens the SQLite file at `path` by Iceberg's JDBC catalog: `name` is the catalog's name in SQL and in the file."""
    settings = {
        "": "org.apache.iceberg.spark.SparkCatalog",
        ".type": "jdbc",
        # Others hold the lock for as long as their disk takes; the driver's own three seconds are few on a busy machine.
        ".uri": f"jdbc:sqlite:{path}?busy_timeout=60000",
        ".jdbc.schema-version": "V1",
        ".warehouse": "file://" + os.path.dirname(path),
        ".cache-enabled": "false",
    }
    for key, value in settings.items():
        spark.conf.set(f"spark.sql.catalog.{name}{key}", value)


def sentence(error):
    """What went wrong, down to its first cause: Spark wraps the one that matters ("internal error") several times."""
    lines = str(error).split('\n')
    said = [line for line in lines if not line.lstrip().startswith(('at ', '... '))]
    return '\n'.join(said)[:4000]


scratch = tempfile.TemporaryDirectory()
open_catalog("scratch", os.path.join(scratch.name, "catalog.db"))
spark.sql("CREATE NAMESPACE scratch.db")
opened = None

for number, line in enumerate(sys.stdin):
    request = json.loads(line)
    try:
        sql = request.get("sql", "SELECT 1")
        if "catalog" in request and opened is None:
            opened = request["catalog"]
            open_catalog("frazil", opened)
        if "catalog" in request and request["catalog"] != opened:
            raise ValueError("one process opens one catalog")
        if "expire" in request:
            java = spark._jvm
            name = f"frazil.{request['expire']}"
            table = java.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)
            now = java.java.lang.System.currentTimeMillis()
            table.expireSnapshots().expireOlderThan(now).retainLast(1).commit()
        if "metadata" in request:
            spark.sql(f"CALL scratch.system.register_table(table => 'db.t{number}', metadata_file => '{request['metadata']}')")
            sql = sql.replace("{table}", f"scratch.db.t{number}")
        rows = spark.sql(sql).collect()
        print(encode({"rows": [row.asDict(recursive=True) for row in rows]}), flush=True)
    except Exception as error:
        print(encode({"error": sentence(error)}), flush=True)
spark.stop()
