-- How many products have each three characters: the planner does not go by what it knows of a partial index, and took every search for
-- one that few products match. It read and sorted all that do, where an index in the page's order ends with the page.
create statistics products_search_grams on (search_grams(search_text)) from products;
analyze products;
