-- PostgreSQL checks a foreign key row by row, with a query each: a third of the database's time in a group of reservations
-- (docs/decisions/0006). One function writes a reservation and its lines, in one transaction; neither is ever deleted;
-- and a line without its reservation is a discrepancy to the audit.
alter table reservation_lines drop constraint reservation_lines_reservation_id_fkey;
