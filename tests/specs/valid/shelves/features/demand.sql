SELECT product, count(DISTINCT store) AS stores_3d, sum(units) AS product_units_3d
FROM sales
GROUP BY product
