import io.delta.storage.HDFSLogStore;
import java.io.IOException;
import java.util.Iterator;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/** A log on a bad line: of ten writes one is refused, and of two the commit lands but its answer is lost. */
public class LostAnswer extends HDFSLogStore {
    private static final AtomicInteger WRITES = new AtomicInteger();

    public LostAnswer(Configuration conf) {
        super(conf);
    }

    @Override
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf) throws IOException {
        int turn = path.getName().endsWith(".json") ? WRITES.incrementAndGet() % 10 : 0;
        if (turn == 3) {
            System.out.println("FAULT refused " + path.getName());
            throw new IOException("the line is down");
        }
        super.write(path, actions, overwrite, conf);
        if (turn == 5 || turn == 8) {
            System.out.println("FAULT lost " + path.getName());
            throw new IOException("no answer within 60 s");
        }
    }
}
