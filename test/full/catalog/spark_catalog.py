"""spark_catalog.py <jars, separated by commas> <catalog.db> <warehouse> <new catalog file>: Java's JdbcCatalog, through Spark, for the tests.

Reads every table of catalog.db by catalog and as a bare metadata file, makes the table made.by_java in it, and makes one in a
new catalog file of form V0. Prints one JSON object.
"""
import json
import os
import sys

from pyspark.sql import SparkSession

jars, path, warehouse, new_path = sys.argv[1:]
builder = (
    SparkSession.builder.master('local[1]')
    .config('spark.driver.bindAddress', '127.0.0.1')
    .config('spark.driver.host', '127.0.0.1')
    .config('spark.ui.enabled', 'false')
    .config('spark.driver.memory', '1g')
    .config('spark.sql.shuffle.partitions', '1')
    .config('spark.driver.extraJavaOptions', '-XX:+UseSerialGC -XX:TieredStopAtLevel=1')
    .config('spark.jars', jars)
    .config('spark.sql.extensions', 'org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions')
)
for name, file, extra in (('frazil', path, {'jdbc.schema-version': 'V1'}), ('fresh', new_path, {})):
    key = f'spark.sql.catalog.{name}'
    settings = {
        'catalog-impl': 'org.apache.iceberg.jdbc.JdbcCatalog',
        'uri': f'jdbc:sqlite:{file}',
        'warehouse': f'file://{warehouse}',
        **extra,
    }
    builder = builder.config(key, 'org.apache.iceberg.spark.SparkCatalog')
    for setting, value in settings.items():
        builder = builder.config(f'{key}.{setting}', value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel('ERROR')


def quoted(name):
    return '`' + name.replace('`', '``') + '`'


found = {}
for (namespace,) in spark.sql('SHOW NAMESPACES IN frazil').collect():
    # Spark shows names that need it in backquotes.
    plain = namespace.strip('`').replace('``', '`')
    found[plain] = {}
    for row in spark.sql(f'SHOW TABLES IN frazil.{quoted(plain)}').collect():
        table = f'frazil.{quoted(plain)}.{quoted(row.tableName)}'
        found[plain][row.tableName] = spark.table(table).count()
        assert spark.table(f'{table}.files').count() > 0
for catalog in ('frazil', 'fresh'):
    spark.sql(f'CREATE NAMESPACE {catalog}.made')
    spark.sql(f'CREATE TABLE {catalog}.made.by_java (id bigint) USING iceberg LOCATION "file://{warehouse}/{catalog}-made"')
    spark.sql(f'INSERT INTO {catalog}.made.by_java VALUES (1), (2)')
print(json.dumps(found))
spark.stop()
